// File > Disk Usage: how much room the files in the home take, what takes most, and how much is left.
//
// Hand-written in the format that JupyterLab loads, as jupyterhub-idle says.
(() => {
  const NAME = 'jupyterhub-disk';
  let shared;

  const load = async name => {
    const versions = Object.entries(shared[name]);
    versions.sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
    return (await versions.at(-1)[1].get())();
  };

  const size = bytes => {
    const unit = ['B', 'kB', 'MB', 'GB', 'TB'].findIndex((_, index) => bytes < 1000 ** (index + 1));
    return unit > 0 ? `${Number((bytes / 1000 ** unit).toPrecision(3))} ${['B', 'kB', 'MB', 'GB', 'TB'][unit]}` : `${bytes} B`;
  };

  const make = (tag, text = '', style = '') => {
    const element = document.createElement(tag);
    element.textContent = text;
    element.style.cssText = style;
    return element;
  };

  const view = ({ total, complete, largest, free, size: whole }) => {
    const element = make('div');
    element.append(
      make('p', `Your files take ${complete ? '' : 'at least '}${size(total)}.`),
      make('p', `The disk has ${size(free)} left of ${size(whole)}; others use it, too.`)
    );
    if (largest.length) {
      const table = make('table', '', 'margin-top: 8px; width: 100%');
      table.append(make('caption', 'What takes most', 'text-align: left; font-weight: bold'));
      for (const { path, bytes } of largest) {
        const row = table.insertRow();
        row.append(make('td', path, 'overflow-wrap: anywhere; padding-right: 16px'));
        row.append(make('td', size(bytes), 'text-align: right; white-space: nowrap'));
      }
      element.append(table, make('p', 'In a terminal, rm -r deletes a folder: rm -r ~/.cache removes what programs can fetch again.'));
    }
    return element;
  };

  const activate = async app => {
    const { Dialog, ICommandPalette, showErrorMessage } = await load('@jupyterlab/apputils');
    const { ServerConnection } = await load('@jupyterlab/services');
    const { IMainMenu } = await load('@jupyterlab/mainmenu');
    const { Widget } = await load('@lumino/widgets');
    const settings = app.serviceManager.serverSettings;
    const command = `${NAME}:open`;

    const open = async () => {
      const body = new Widget();
      body.node.setAttribute('role', 'status');
      body.node.textContent = 'Looking through your files...';
      const dialog = new Dialog({ title: 'Disk Usage', body, buttons: [Dialog.okButton({ label: 'Close' })] });
      const closed = dialog.launch();
      try {
        const answer = await ServerConnection.makeRequest(`${settings.baseUrl}${NAME}`, {}, settings);
        if (!answer.ok) throw new Error(answer.statusText);
        body.node.replaceChildren(view(await answer.json()));
      } catch (error) {
        body.node.textContent = `It could not be measured: ${error.message}`;
      }
      await closed;
    };

    app.commands.addCommand(command, {
      label: 'Disk Usage',
      caption: 'How much room your files take',
      execute: () => open().catch(error => showErrorMessage('Disk Usage', error.message))
    });
    const menu = await app.resolveOptionalService(IMainMenu);
    menu?.fileMenu.addGroup([{ command }], 98);
    const palette = await app.resolveOptionalService(ICommandPalette);
    palette?.addItem({ command, category: 'File Operations' });
  };

  const plugin = {
    id: `${NAME}:menu`,
    description: 'An entry of the menu File that tells what fills the home.',
    autoStart: true,
    activate: app => void app.started.then(() => activate(app)).catch(console.error)
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: scope => void (shared = scope),
    get: async () => () => ({ __esModule: true, default: plugin })
  };
})();
