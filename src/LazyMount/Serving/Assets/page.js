// Nothing here is needed to use the pages: it colours text, searches while one types, and keeps the sum of fetched bytes up to date.
"use strict";

if (window.hljs) {
  hljs.configure({ ignoreUnescapedHTML: true });
  for (const code of document.querySelectorAll("pre code[class^=language-]:not(.language-plaintext)")) {
    hljs.highlightElement(code);
  }
}

const fetched = document.getElementById("fetched");
async function update() {
  if (document.visibilityState === "visible") {
    try {
      const answer = await fetch("/status");
      if (answer.ok) {
        fetched.textContent = (await answer.json()).fetched;
      }
    } catch {
      // The server has gone: what was said last stays.
    }
  }
}
if (fetched) {
  setInterval(update, 4000);
  update();
}

const query = document.getElementById("q"), results = document.getElementById("results");
if (query && results) {
  let waiting = 0, running = null;
  query.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      running?.abort();
      running = new AbortController();
      const address = new URL(query.form.action);
      address.searchParams.set("q", query.value);
      try {
        const answer = await fetch(`${address}&only=results`, { signal: running.signal });
        if (answer.ok) {
          results.innerHTML = await answer.text();
          history.replaceState(null, "", address);
          update();
        }
      } catch {
        // Another letter was typed meanwhile, or the server has gone.
      }
    }, 200);
  });
}
