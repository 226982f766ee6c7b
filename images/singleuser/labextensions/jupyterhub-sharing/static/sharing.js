// File > Share This Server: the Hub's page on which an owner makes links, in place of JupyterLab's own Share button,
// whose links do not work here.  Only for the owner, and only where servers can be shared (jupyterhub_guests says so).
//
// Hand-written in the format that JupyterLab loads, as jupyterhub-idle says.
(() => {
  const NAME = 'jupyterhub-sharing';
  let shared;

  const load = async name => {
    const versions = Object.entries(shared[name]);
    versions.sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
    return (await versions.at(-1)[1].get())();
  };

  const activate = async app => {
    const { PageConfig } = await load('@jupyterlab/coreutils');
    const owner = PageConfig.getOption('hubServerUser');
    if (!PageConfig.getOption('hubSharing') || PageConfig.getOption('hubUser') !== owner) return;
    const server = PageConfig.getOption('hubServerName');
    const page = `${PageConfig.getOption('hubPrefix')}share${server && `/${encodeURIComponent(server)}`}`;
    const command = `${NAME}:open`;
    app.commands.addCommand(command, {
      label: 'Share This Server',
      caption: 'Let others into this server for a time, by a link',
      execute: () => void window.open(`${PageConfig.getOption('hubHost')}${page}`, '_blank', 'noopener')
    });
    const { IMainMenu } = await load('@jupyterlab/mainmenu');
    const { ICommandPalette } = await load('@jupyterlab/apputils');
    const menu = await app.resolveOptionalService(IMainMenu);
    // Just above JupyterHub's own entry, which has 100.
    menu?.fileMenu.addGroup([{ command }], 99);
    const palette = await app.resolveOptionalService(ICommandPalette);
    palette?.addItem({ command, category: 'Hub' });
  };

  const plugin = {
    id: `${NAME}:menu`,
    description: "An entry of the menu File that leads to the Hub's page Share.",
    autoStart: true,
    activate: app => void app.started.then(() => activate(app)).catch(console.error)
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: scope => void (shared = scope),
    get: async () => () => ({ __esModule: true, default: plugin })
  };
})();
