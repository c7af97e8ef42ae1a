// Puts the newest page in the place of this one when something happens, and says when nobody can
// tell any more. The page is whole without this.
"use strict";

const EVERY = 5000; // milliseconds between pages when nothing happens
const PAUSE = 1000; // shortest time between two pages
const STALE = 15000; // a page older than this is said to be old

const live = document.getElementById("live");
let shown = Date.now();
let timer = null;
let due = Infinity;
let asking = false;

function say(text, bad) {
  live.textContent = text;
  live.classList.toggle("bad", bad);
  live.hidden = false;
}

function soon(wait) {
  const at = Math.max(Date.now() + wait, shown + PAUSE);
  if (timer !== null && due <= at) {
    return;
  }
  clearTimeout(timer);
  due = at;
  timer = setTimeout(renew, at - Date.now());
}

async function renew() {
  timer = null;
  if (asking) {
    return;
  }
  asking = true;
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(8000) });
    const text = await answer.text();
    const page = new DOMParser().parseFromString(text, "text/html");
    const [next, now] = [page.querySelector("main"), document.querySelector("main")];
    if (next && now) {
      now.replaceWith(document.adoptNode(next));
      document.title = page.title;
      shown = Date.now();
    }
  } catch (error) {
    // Said by the clock below.
  } finally {
    asking = false;
    soon(EVERY);
  }
}

const events = new EventSource("/events");
events.onmessage = () => soon(0);
events.addEventListener("daemon", () => soon(0));
events.addEventListener("lost", () => soon(0));

function tell() {
  const age = Date.now() - shown;
  if (age > STALE) {
    say("old: nothing was heard for " + Math.round(age / 1000) + " s", true);
  } else {
    say(events.readyState === EventSource.OPEN ? "live" : "renewed each 5 s", false);
  }
}
setInterval(tell, 1000);
events.onopen = tell;
tell();
soon(EVERY);
