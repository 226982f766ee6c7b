// Asks the Hub again and again for what it answers when something changes.
//
// Only while the page is visible: with HTTP/1.1 a browser has six connections to a host, and six tabs would block it.
const longPoll = (path, heard) => {
  const LATER_MS = 60000; // logged out
  const SOON_MS = 5000; // the Hub may just be restarting
  let request;
  let wake = () => {};
  const woken = (ms) => new Promise((resolve) => {
    wake = resolve;
    if (ms) setTimeout(resolve, ms);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") wake();
    else request?.abort();
  });
  return (async () => {
    for (;;) {
      if (document.visibilityState !== "visible") await woken();
      request = new AbortController();
      try {
        const answer = await fetch(path(), { redirect: "manual", signal: request.signal });
        if (answer.status !== 200) {
          // This page made room for another one of the user's, or they are logged out.
          await woken(Number(answer.headers.get("Retry-After")) * 1000 || LATER_MS);
          continue;
        }
        await heard(await answer.json());
      } catch {
        if (!request.signal.aborted) await woken(SOON_MS);
      }
    }
  })();
};
