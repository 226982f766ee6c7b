// Versions, in the context menu of JupyterLab's file browser: lists a file's versions, compares and brings them back.
//
// Hand-written in the format that JupyterLab loads, as jupyterhub-idle beside it.
(() => {
  const NAME = 'jupyterhub-versions';
  const OPEN = `${NAME}:open`;
  // For sighted users; each line also begins with its sign.
  const COLORS = { '+': 'rgba(0, 160, 0, 0.18)', '-': 'rgba(220, 0, 0, 0.18)' };
  let shared;

  // The newest version that JupyterLab shares of a module.
  const load = async name => {
    const versions = Object.entries(shared[name]);
    versions.sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
    return (await versions.at(-1)[1].get())();
  };

  const make = (tag, style, attributes = {}) => {
    const node = Object.assign(document.createElement(tag), attributes);
    Object.assign(node.style, style);
    return node;
  };

  const when = ({ time }) => new Date(time * 1000).toLocaleString([], { dateStyle: 'medium', timeStyle: 'medium' });

  const size = bytes => {
    if (bytes < 1000) return `${bytes} B`;
    return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  };

  const activate = async (app, browsers, documents) => {
    const { Dialog, Notification, showErrorMessage } = await load('@jupyterlab/apputils');
    const { PageConfig, PathExt, URLExt } = await load('@jupyterlab/coreutils');
    const { ServerConnection } = await load('@jupyterlab/services');
    const { historyIcon } = await load('@jupyterlab/ui-components');
    const { Widget } = await load('@lumino/widgets');
    const { contents, serverSettings: settings } = app.serviceManager;
    if (!PageConfig.getOption('jupyterhubVersions')) return;

    const ask = async (path, { query = {}, ...init } = {}) => {
      const url = URLExt.join(settings.baseUrl, NAME, URLExt.encodeParts(path)) + URLExt.objectToQueryString(query);
      const response = await ServerConnection.makeRequest(url, init, settings);
      const answer = await response.json().catch(() => ({}));
      if (!response.ok) throw new Error(answer.message || response.statusText);
      return answer;
    };

    const opened = path =>
      new Set(
        [...app.shell.widgets('main')]
          .map(widget => documents.contextForWidget(widget))
          .filter(context => context && contents.localPath(context.path) === path)
      );

    const bringBack = async (path, version) => {
      // What was typed since the last save becomes a version, too.
      for (const context of opened(path)) if (context.model.dirty) await context.save();
      await ask(path, { method: 'POST', body: JSON.stringify({ version: version.name }) });
      // Documents of jupyter-collaboration follow the file by themselves.
      for (const context of opened(path)) if (!context.model.collaborative) await context.revert();
      Notification.success(
        `${PathExt.basename(path)} is again as on ${when(version)}. What it contained before is kept as a version.`,
        { autoClose: 5000 }
      );
    };

    const line = text => {
      const node = make('div', { background: COLORS[text[0]] || '', whiteSpace: 'pre-wrap', minHeight: '1.3em' });
      // A gap between two places.
      node.textContent = text === '@' ? '⋯' : text.replace(/^-/, '−');
      return node;
    };

    const dialogOf = ({ path, reason, versions }) => {
      const body = new Widget();
      const row = make('div', { display: 'flex', gap: '12px', width: 'min(940px, 80vw)', height: 'min(32rem, 55vh)' });
      const list = make('select', { flex: '0 0 17rem', font: 'inherit', color: 'inherit', background: 'inherit' });
      list.size = 2;
      list.setAttribute('aria-label', 'Versions, the newest first');
      const right = make('div', { flex: '1', minWidth: '0', display: 'flex', flexDirection: 'column', gap: '6px' });
      const note = make('div', {}, { role: 'status' });
      const changes = make('div', {
        flex: '1',
        overflow: 'auto',
        fontFamily: 'var(--jp-code-font-family)',
        fontSize: 'var(--jp-code-font-size)',
        border: '1px solid var(--jp-border-color2)',
        padding: '4px'
      });
      changes.tabIndex = 0;
      changes.setAttribute('role', 'region');
      changes.setAttribute('aria-label', 'What bringing this version back would change');
      for (const version of versions) {
        const about = version.present ? 'as now' : size(version.size);
        list.append(make('option', {}, { textContent: `${when(version)} · ${about}`, value: version.name }));
      }
      right.append(note, changes);
      row.append(list, right);
      const dialog = new Dialog({
        title: `Versions of ${PathExt.basename(path)}`,
        body,
        buttons: [Dialog.cancelButton({ label: 'Close' }), Dialog.okButton({ label: 'Bring this version back' })],
        focusNodeSelector: 'select'
      });
      // Not before: JupyterLab would make a drop-down list of it.
      body.node.append(row);
      const button = dialog.node.querySelector('.jp-mod-accept');
      const chosen = () => versions.find(each => each.name === list.value);

      const show = async () => {
        const version = chosen();
        button.disabled = !version || version.present;
        changes.replaceChildren();
        if (!version) {
          note.textContent = reason || 'There are no versions yet: the first is made when the file is saved.';
          return;
        }
        note.textContent = 'Comparing…';
        try {
          const answer = await ask(path, { query: { version: version.name } });
          // Another one was chosen meanwhile.
          if (chosen() !== version) return;
          note.textContent = answer.note;
          if (answer.lines.length) note.textContent += ' Lines with + come back, lines with − go.';
          changes.replaceChildren(...answer.lines.map(line));
        } catch (error) {
          note.textContent = error.message;
        }
      };

      list.addEventListener('change', () => void show());
      // The newest that differs.
      list.value = (versions.find(each => !each.present) || versions[0] || {}).name;
      void show();
      return { dialog, chosen };
    };

    const open = async path => {
      try {
        const listed = await ask(path);
        const { dialog, chosen } = dialogOf(listed);
        const { button } = await dialog.launch();
        const version = chosen();
        if (button.accept && version && !version.present) await bringBack(listed.path, version);
      } catch (error) {
        await showErrorMessage('Versions', error.message);
      }
    };

    const selected = () => {
      const items = [...(browsers.tracker.currentWidget?.selectedItems() || [])];
      const ours = items.length === 1 && items[0].type !== 'directory' && ['', 'RTC'].includes(contents.driveName(items[0].path));
      return ours ? contents.localPath(items[0].path) : '';
    };

    app.commands.addCommand(OPEN, {
      label: 'Versions',
      caption: 'List earlier versions of this file, compare them with it, and bring one back',
      icon: historyIcon,
      isVisible: () => Boolean(selected()),
      execute: () => open(selected())
    });
    app.contextMenu.addItem({ command: OPEN, selector: '.jp-DirListing-item[data-isdir="false"]', rank: 6.5 });
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: scope => void (shared = scope),
    get: async () => {
      const { IFileBrowserFactory } = await load('@jupyterlab/filebrowser');
      const { IDocumentManager } = await load('@jupyterlab/docmanager');
      const plugin = {
        id: `${NAME}:menu`,
        description: 'Lists versions of a file, compares them with it, and brings one back.',
        autoStart: true,
        requires: [IFileBrowserFactory, IDocumentManager],
        activate: (app, ...needed) => void activate(app, ...needed).catch(console.error)
      };
      return () => ({ __esModule: true, default: plugin });
    }
  };
})();
