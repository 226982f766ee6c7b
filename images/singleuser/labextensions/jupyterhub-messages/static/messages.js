// Messages of the Hub's administrators in JupyterLab, as a banner that stays until it is dismissed or withdrawn.
//
// Hand-written in the format that JupyterLab loads, as jupyterhub-idle says.  The page asks the Hub itself, with the
// cookie of the user's session there.
(() => {
  const NAME = 'jupyterhub-messages';
  const LATER_MS = 60_000; // logged out at the Hub
  const SOON_MS = 5_000; // the Hub may just be restarting
  let shared;

  const load = async name => {
    const versions = Object.entries(shared[name]);
    versions.sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
    return (await versions.at(-1)[1].get())();
  };

  // Only while the page is visible: over HTTP/1.1 a browser has six connections to a host, and six tabs would block it.
  const isVisible = () => document.visibilityState === 'visible';
  let request;
  let wake = () => {};
  // Ends at once when the page becomes visible; without a time, only then.
  const wait = ms =>
    new Promise(resolve => {
      wake = resolve;
      if (ms) setTimeout(resolve, ms);
    });
  document.addEventListener('visibilitychange', () => (isVisible() ? wake() : request?.abort()));

  const banner = () => {
    const element = document.createElement('div');
    element.id = NAME;
    element.setAttribute('role', 'status');
    element.style.cssText =
      'position: fixed; bottom: 32px; left: 50%; transform: translateX(-50%); z-index: 10000; max-width: 80vw;' +
      ' display: flex; flex-direction: column; gap: 4px';
    document.body.appendChild(element);
    return element;
  };

  const line = (text, dismiss) => {
    const element = document.createElement('div');
    element.style.cssText =
      'display: flex; gap: 12px; align-items: center; padding: 6px 12px; border-radius: 4px; background: #fff3cd;' +
      ' color: #332701; border: 1px solid #ffe69c; box-shadow: 0 2px 6px rgb(0 0 0 / 30%); overflow-wrap: anywhere';
    const words = document.createElement('span');
    words.textContent = text;
    const button = document.createElement('button');
    button.textContent = 'Dismiss';
    button.onclick = dismiss;
    element.append(words, button);
    return element;
  };

  const activate = async () => {
    const { PageConfig } = await load('@jupyterlab/coreutils');
    const hub = PageConfig.getOption('hubPrefix');
    if (!hub) return;
    const shown = banner();
    const dismissed = new Set();
    let seen = '';
    for (;;) {
      if (!isVisible()) await wait();
      request = new AbortController();
      try {
        const answer = await fetch(`${hub}messages?seen=${seen}`, { redirect: 'manual', signal: request.signal });
        if (answer.status !== 200) {
          // This page made room for another one of the user's, or they are logged out.
          await wait(Number(answer.headers.get('Retry-After')) * 1000 || LATER_MS);
          continue;
        }
        const { messages } = await answer.json();
        seen = messages.map(({ id }) => id).join(',');
        const lines = messages
          .filter(({ id }) => !dismissed.has(id))
          .map(({ id, text }) => {
            const element = line(text, () => {
              dismissed.add(id);
              element.remove();
            });
            return element;
          });
        shown.replaceChildren(...lines);
      } catch {
        if (!request.signal.aborted) await wait(SOON_MS);
      }
    }
  };

  const plugin = {
    id: `${NAME}:banner`,
    description: "Messages of the Hub's administrators.",
    autoStart: true,
    activate: app => void app.started.then(activate).catch(console.error)
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: scope => void (shared = scope),
    get: async () => () => ({ __esModule: true, default: plugin })
  };
})();
