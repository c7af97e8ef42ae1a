//! Scripts that were written for keepalived, run by buoy's hooks as the import writes them.
//!
//! The scripts are those that everybody has: a `notify` that looks at its third argument in a
//! `case`, and one for each state that is called with words of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use buoy::config::Occasion;
use buoy::hooks::{Happening, Hooks};

use super::{Memory, parsed, run, told};

fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("import").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn notify_scripts_get_the_arguments_that_keepalived_gives() {
    let here = directory("notify");
    let (log, shown) = (here.join("log"), here.display());
    script(
        &here.join("notify.sh"),
        &format!(
            "#!/bin/sh\nTYPE=$2; NAME=$3; STATE=$4\ncase $STATE in\n\"MASTER\") echo \"$1: $TYPE \
             $NAME starts\" >> {log}\n exit 0 ;;\n\"BACKUP\") echo \"$1: $TYPE $NAME stops\" >> \
             {log}\n exit 0 ;;\n\"FAULT\") echo \"$1: $TYPE $NAME fails\" >> {log}\n exit 0 ;;\n\
             *) echo unknown >> {log}; exit 1 ;;\nesac\n",
            log = log.display()
        ),
    );
    let plain = format!("#!/bin/sh\necho \"$# $*\" >> {}\n", log.display());
    script(&here.join("master.sh"), &plain);
    let text = format!(
        "vrrp_instance VI_1 {{\ninterface eth0\nvirtual_router_id 51\npriority 100\n\
         virtual_ipaddress {{\n192.0.2.100\n}}\nnotify \"{shown}/notify.sh mine\"\n\
         notify_master '{shown}/master.sh to \"the master\"'\n}}\n"
    );
    let files = Memory::of(&[("k.conf", &text)]);
    let import = run(&files, &["k=k.conf"], &["k=192.0.2.11", "l=192.0.2.12"]);
    let config = parsed(import.text.as_ref().unwrap_or_else(|| panic!("{}", told(&import))));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let troubles = runtime.block_on(async {
        let mut hooks = Hooks::new(&config.hooks);
        for occasion in [Occasion::Acquired, Occasion::Released, Occasion::Unable] {
            hooks.tell(Happening {
                occasion,
                group: Some(config.groups[0].name.clone()),
                pool: Some(config.groups[0].pool.clone()),
                ticket: None,
                environment: Vec::new(),
            });
        }
        hooks.finish(Duration::from_secs(20)).await
    });
    assert_eq!(troubles, []);
    let lines = fs::read_to_string(log).unwrap();
    let expected = "mine: INSTANCE VI_1 starts\n2 to the master\nmine: INSTANCE VI_1 stops\n\
                    mine: INSTANCE VI_1 fails\n";
    assert_eq!(lines, expected);
}
