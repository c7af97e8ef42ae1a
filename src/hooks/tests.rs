//! Hooks that work, hang, fail and pile up. The programs are `/bin/sh`.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn place(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("buoy-hooks-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

fn hook(name: &str, script: &str, timeout: Duration, style: Style) -> HookConfig {
    let command = ["/bin/sh", "-c", script, "hook"].map(str::to_owned).to_vec();
    HookConfig {
        name: name.to_owned(),
        on: vec![Occasion::Acquired, Occasion::Released],
        deed: Deed::Run { command, user: None, timeout, style },
        pools: None,
        gather: None,
    }
}

fn happening(occasion: Occasion, group: &str) -> Happening {
    Happening {
        occasion,
        group: Some(group.to_owned()),
        pool: Some("web".to_owned()),
        ticket: None,
        environment: vec![("BUOY_GROUP".to_owned(), group.to_owned())],
    }
}

/// Does everything that waits; returns the troubles.
async fn settle(hooks: &mut Hooks) -> Vec<Trouble> {
    let mut troubles = std::mem::take(&mut hooks.dropped);
    let all = async {
        while let Some(done) = hooks.running.join_next().await {
            troubles.extend(hooks.note(done.unwrap()));
        }
    };
    timeout(PATIENCE, all).await.expect("hooks end by themselves or are ended");
    troubles
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn for_one_group_hooks_run_in_order_and_one_at_a_time() {
    let file = place("order");
    let script = |name: &str| {
        // Two at once would mix their lines.
        format!("echo {name} $BUOY_GROUP begins >> {0}; echo {name} ends >> {0}", file.display())
    };
    let configured = ["a", "b"].map(|name| hook(name, &script(name), PATIENCE, Style::Buoy));
    block_on(async {
        let mut hooks = Hooks::new(&configured);
        hooks.tell(happening(Occasion::Acquired, "10.77.0.100"));
        hooks.tell(happening(Occasion::Unable, "10.77.0.100"));
        hooks.tell(happening(Occasion::Released, "10.77.0.100"));
        assert_eq!(settle(&mut hooks).await, []);
        let row = hooks.rows().remove(0);
        assert_eq!((row.runs, row.failures, row.dropped), (2, 0, 0));
        assert_eq!(row.last, "released 10.77.0.100: ended with status 0");
    });
    let once = ["a 10.77.0.100 begins", "a ends", "b 10.77.0.100 begins", "b ends"];
    assert_eq!(lines(&file), [once, once].concat());
    fs::remove_file(&file).unwrap();
}

#[test]
fn scripts_for_keepalived_get_its_arguments() {
    let file = place("keepalived");
    let script = format!("echo \"$@\" >> {}", file.display());
    block_on(async {
        let mut hooks = Hooks::new(&[hook("k", &script, PATIENCE, Style::Keepalived)]);
        hooks.tell(happening(Occasion::Acquired, "10.77.0.100"));
        hooks.tell(happening(Occasion::Released, "10.77.0.100"));
        assert_eq!(settle(&mut hooks).await, []);
    });
    assert_eq!(
        lines(&file),
        ["INSTANCE 10.77.0.100 MASTER 100", "INSTANCE 10.77.0.100 BACKUP 100"]
    );
    fs::remove_file(&file).unwrap();
    assert_eq!(
        line_for(&happening(Occasion::Unable, "10.77.0.100")),
        "INSTANCE \"10.77.0.100\" FAULT 100\n"
    );
}

#[test]
fn a_hook_that_hangs_or_dies_is_told_and_the_next_one_runs() {
    let file = place("after");
    let limit = Duration::from_millis(200);
    let configured = [
        hook("hangs", "exec tail -f /dev/null", limit, Style::Buoy),
        hook("dies", "echo why >&2; kill -9 $$", PATIENCE, Style::Buoy),
        hook("floods", "yes", PATIENCE, Style::Buoy),
        hook("works", &format!("echo done > {}", file.display()), PATIENCE, Style::Buoy),
    ];
    block_on(async {
        let mut hooks = Hooks::new(&configured);
        hooks.tell(happening(Occasion::Acquired, "10.77.0.100"));
        let troubles = settle(&mut hooks).await;
        let words: Vec<String> = troubles
            .into_iter()
            .map(|trouble| match trouble {
                Trouble::Failed { hook, words, .. } => format!("{hook} {words}"),
                Trouble::Dropped { hook, .. } => format!("{hook} dropped"),
                Trouble::CutOff { hook, .. } => format!("{hook} cut off"),
            })
            .collect();
        assert_eq!(
            words,
            [
                "hangs did not end within 200 ms",
                "dies was killed by SIGKILL: why",
                "floods printed more than 1 MiB: y",
            ]
        );
    });
    assert_eq!(lines(&file), ["done"]);
    fs::remove_file(&file).unwrap();
}

#[test]
fn hooks_of_other_pools_are_not_run_and_what_does_not_fit_is_told() {
    let only = Some(vec!["api".to_owned()]);
    let other = HookConfig { pools: only, ..hook("other", "exit 0", PATIENCE, Style::Buoy) };
    let slow = hook("slow", "exec tail -f /dev/null", PATIENCE, Style::Buoy);
    block_on(async {
        let mut hooks = Hooks::new(&[other, slow]);
        for _ in 0..100 {
            hooks.tell(happening(Occasion::Acquired, "10.77.0.100"));
        }
        let rows = hooks.rows();
        assert_eq!((rows[0].waiting, rows[0].runs, rows[0].dropped), (0, 0, 0));
        let slow = &rows[1];
        // One runs, 64 wait.
        assert_eq!((slow.running, slow.waiting, slow.dropped), (true, 64, 35));
        assert!(matches!(hooks.next().await, News::Trouble(Trouble::Dropped { .. })));
        hooks.finish(Duration::from_millis(100)).await;
    });
}

#[test]
fn events_that_are_gathered_are_one_run() {
    let file = place("gather");
    let script = format!("echo \"$BUOY_GROUP $BUOY_COUNT\" >> {}", file.display());
    let gather = Some(Duration::from_millis(50));
    let soft = HookConfig { gather, ..hook("soft", &script, PATIENCE, Style::Buoy) };
    block_on(async {
        let mut hooks = Hooks::new(&[soft]);
        for group in ["10.77.0.100", "10.77.0.101"] {
            hooks.tell(happening(Occasion::Released, group));
        }
        assert_eq!(hooks.rows()[0].waiting, 2);
        let runs = async {
            while hooks.rows()[0].runs == 0 {
                let _ = timeout(Duration::from_millis(20), hooks.next()).await;
            }
        };
        timeout(PATIENCE, runs).await.expect("it is run");
        // At the end nothing is waited for.
        hooks.tell(happening(Occasion::Released, "10.77.0.102"));
        assert!(hooks.finish(PATIENCE).await.is_empty());
    });
    assert_eq!(lines(&file), ["10.77.0.100 10.77.0.101 2", "10.77.0.102 1"]);
    fs::remove_file(&file).unwrap();
}

#[test]
fn a_gate_is_told_once_when_its_last_hook_has_ended() {
    let limit = Duration::from_millis(200);
    let on = vec![Occasion::Gate];
    let configured = [
        HookConfig { on: on.clone(), ..hook("works", "exit 0", PATIENCE, Style::Buoy) },
        HookConfig { on, ..hook("hangs", "exec tail -f /dev/null", limit, Style::Buoy) },
    ];
    let gate =
        |ticket| Happening { ticket: Some(ticket), ..happening(Occasion::Gate, "10.77.0.100") };
    let told = |news: News| match news {
        News::Gate(happening) => format!("gate {:?}", happening.ticket),
        News::Trouble(Trouble::Failed { words, .. }) => words,
        News::Trouble(Trouble::Dropped { .. }) => "dropped".to_owned(),
        News::Trouble(Trouble::CutOff { .. }) => "cut off".to_owned(),
    };
    block_on(async {
        let mut hooks = Hooks::new(&configured);
        hooks.tell(gate(7));
        let mut all = Vec::new();
        for _ in 0..2 {
            all.push(told(timeout(PATIENCE, hooks.next()).await.expect("news come")));
        }
        assert_eq!(all, ["did not end within 200 ms", "gate Some(7)"]);
        assert!(hooks.ended.is_empty(), "told twice");
        // A reload has taken the hooks away before they could begin: nobody waits for nothing.
        hooks.reconfigure(&[]);
        hooks.tell(gate(8));
        assert_eq!(told(hooks.next().await), "gate Some(8)");
    });
}

#[test]
fn at_the_end_what_was_not_run_to_its_end_is_told_one_by_one() {
    let slow = hook("slow", "exec tail -f /dev/null", PATIENCE, Style::Buoy);
    let fails = hook("fails", "exit 3", PATIENCE, Style::Buoy);
    block_on(async {
        let mut hooks = Hooks::new(&[fails, slow]);
        for group in ["10.77.0.100", "10.77.0.101"] {
            hooks.tell(happening(Occasion::Acquired, group));
            hooks.tell(happening(Occasion::Released, group));
        }
        let told = |trouble: &Trouble| match trouble {
            Trouble::Failed { hook, happening, words } => {
                format!("{hook} for {} {words}", happening.words())
            }
            Trouble::CutOff { hook, happening, began } => {
                format!("{hook} for {} began {began}", happening.words())
            }
            Trouble::Dropped { hook, .. } => format!("{hook} dropped"),
        };
        // Long enough for the first hooks of both groups, whatever else the machine does.
        let mut hooks = timeout(PATIENCE, async {
            while hooks.known["fails"].runs < 2 {
                if let Some(Ok(done)) = hooks.running.join_next().await {
                    let trouble = hooks.note(done).unwrap();
                    hooks.dropped.push(trouble);
                }
            }
            hooks.finish(Duration::from_millis(10)).await
        })
        .await
        .expect("the end is bounded");
        let mut all: Vec<String> = hooks.drain(..).map(|trouble| told(&trouble)).collect();
        all.sort();
        let due = |group: &str| {
            [
                format!("fails for acquired {group} ended with status 3"),
                format!("fails for released {group} began false"),
                format!("slow for acquired {group} began true"),
                format!("slow for released {group} began false"),
            ]
        };
        let mut expected = [due("10.77.0.100"), due("10.77.0.101")].concat();
        expected.sort();
        assert_eq!(all, expected);
    });
}

#[test]
fn at_the_end_hooks_of_many_groups_run_beside_each_other() {
    // Each waits until all have begun: with fewer at once none would end.
    let file = place("many");
    let script = format!(
        "echo x >> {0}; while [ $(wc -l < {0}) -lt {RUNNING_AT_END_MAX} ]; do sleep 0.02; done",
        file.display()
    );
    block_on(async {
        let mut hooks = Hooks::new(&[hook("all", &script, PATIENCE, Style::Buoy)]);
        for last in 0..RUNNING_AT_END_MAX {
            hooks.tell(happening(Occasion::Released, &format!("10.77.0.{last}")));
        }
        assert_eq!(hooks.finish(PATIENCE).await, []);
    });
    fs::remove_file(&file).unwrap();
}

#[test]
fn a_reader_gets_what_this_node_has_since_before_the_start() {
    let path = place("fifo-had");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let fifo = |name: &str, pool: &str| HookConfig {
        deed: Deed::Line(path.clone()),
        pools: Some(vec![pool.to_owned()]),
        ..hook(name, "", PATIENCE, Style::Buoy)
    };
    block_on(async {
        let mut hooks = Hooks::new(&[fifo("fifo", "web")]);
        hooks.remember("web", "10.77.0.100");
        hooks.remember("other", "10.77.0.101");
        let reading = path.clone();
        let reader = tokio::task::spawn_blocking(move || {
            use std::io::BufRead;
            let mut line = String::new();
            std::io::BufReader::new(fs::File::open(reading)?).read_line(&mut line)?;
            Ok::<_, std::io::Error>(line)
        });
        // It looks for readers while it waits for news, of which there is none.
        let read = tokio::select! {
            read = timeout(PATIENCE, reader) => read,
            news = hooks.next() => panic!("{news:?}"),
        };
        let line = read.expect("it is told").unwrap().unwrap();
        assert_eq!(line, "INSTANCE \"10.77.0.100\" MASTER 100\n");
    });
    fs::remove_file(&path).unwrap();
}
