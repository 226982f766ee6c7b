// Notices in JupyterLab: before an idle server is stopped, with a button that keeps it; what was wrong in the home when
// the server started (jupyterhub_start); after a kernel ran out of memory.
//
// Hand-written in the format that JupyterLab loads (a module federation container with init and get), so that no build
// needs Node.js.  Its only dependencies are modules that JupyterLab shares.
(() => {
  const NAME = 'jupyterhub-idle';
  const OUT_OF_MEMORY = 'https://events.jupyter.org/jupyterhub_lab/out_of_memory/v1';
  const SOON_MS = 10_000; // while a notice is shown
  const LATEST_MS = 600_000; // in case settings change, or the computer slept
  let shared;

  // The newest version that JupyterLab shares of a module.
  const load = async name => {
    const versions = Object.entries(shared[name]);
    versions.sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
    return (await versions.at(-1)[1].get())();
  };

  // At most 140 characters: JupyterLab does not show more.
  const text = ({ seconds, reason }) => {
    const at = new Date(Date.now() + seconds * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    return reason === 'age'
      ? `This server is too old and will be stopped at ${at}: save your work. Your files stay; what notebooks hold in` +
          ' memory is lost.'
      : `Nobody has used this server for a while: it will be stopped at ${at}. Your files stay; what notebooks hold` +
          ' in memory is lost.';
  };

  const size = mb => (mb >= 1024 ? `${Number((mb / 1024).toPrecision(3))} GB` : `${mb} MB`);

  // In a dialog after JupyterLab's own, because notifications show only 140 characters.
  const reportMemory = (app, { Dialog, showDialog }) => {
    app.serviceManager.events.stream.connect((_, event) => {
      if (event.schema_id !== OUT_OF_MEMORY) return;
      const session = [...app.serviceManager.sessions.running()].find(({ kernel }) => kernel?.id === event.kernel_id);
      const limit = event.limit_mb ? `: its limit is ${size(event.limit_mb)} for everything that runs in it` : '';
      void showDialog({
        title: 'Out of memory',
        body:
          `The kernel${session ? ` of ${session.name}` : ''} was stopped because this server ran out of memory${limit}.` +
          ' What the kernel held in memory is lost; saved files are not. Load less data at a time, shut down other' +
          ' kernels (View > Sessions and Tabs), or stop this server (File > Hub Control Panel) and start it with a' +
          ' larger size, if there is one.',
        buttons: [Dialog.okButton()]
      });
    });
  };

  const activate = async app => {
    const apputils = await load('@jupyterlab/apputils');
    const { Dialog, Notification, showDialog } = apputils;
    const { ServerConnection } = await load('@jupyterlab/services');
    const settings = app.serviceManager.serverSettings;
    reportMemory(app, apputils);
    let shown = null;
    let said = '';
    let timer = 0;
    let startWasTold = false;

    const ask = async method => {
      const response = await ServerConnection.makeRequest(`${settings.baseUrl}${NAME}`, { method }, settings);
      if (!response.ok) throw new Error(response.statusText);
      return response.json();
    };

    const hide = () => {
      if (shown !== null) Notification.dismiss(shown);
      shown = null;
      said = '';
    };

    const show = told => {
      const message = text(told);
      if (message === said) return;
      hide();
      const keep = { label: 'Keep it running', displayType: 'accent', callback: () => look('POST') };
      const actions = told.reason === 'idle' ? [keep] : [];
      // An alert that stays until answered and is read by screen readers, not a dialog that would take the focus.
      shown = Notification.emit(message, 'warning', { autoClose: false, actions });
      said = message;
    };

    // Polls rarely until a notice may be due.
    const look = async method => {
      clearTimeout(timer);
      let wait = LATEST_MS;
      try {
        const told = await ask(method);
        // What was wrong in the home when the server started; too long for notifications.
        if (!startWasTold && told.notices.length) {
          const body = told.notices.join('\n\n');
          void showDialog({ title: 'Something in your home was left out', body, buttons: [Dialog.okButton()] });
        }
        startWasTold = true;
        const until = told.seconds === null ? Infinity : told.seconds - told.notice_seconds;
        if (until > 0) hide();
        else show(told);
        wait = until > 0 ? Math.min(until * 1000 + 1000, LATEST_MS) : SOON_MS;
      } catch (error) {
        // It may have been stopped already, which JupyterLab reports itself.
        if (method === 'POST') Notification.error(`The server could not be kept: ${error.message}`);
        hide();
      }
      timer = setTimeout(look, wait, 'GET');
    };

    look('GET');
    // Browsers suspend timers of hidden tabs.
    document.addEventListener('visibilitychange', () => document.hidden || look('GET'));
  };

  const plugin = {
    id: `${NAME}:notice`,
    description: 'Notices before an idle server is stopped, and after a kernel ran out of memory.',
    autoStart: true,
    activate: app => void app.started.then(() => activate(app)).catch(console.error)
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: scope => void (shared = scope),
    get: async () => () => ({ __esModule: true, default: plugin })
  };
})();
