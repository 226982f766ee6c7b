// The user's own servers on the home page: what the buttons do, and what changes while the page is open.
require(["utils"], ({ safe_slug, sanitise_display_name }) => {
  {% include "long_poll.js" %}
  const REFRESH_MS = 30000;
  // While a server starts, stops or is being deleted.
  const PENDING_MS = 1500;
  const SETTLED = ["running", "stopped", "never started"];
  // Characters (jupyterhub/slugs.py).
  const LONGEST_SLUG = 30;
  const { base_url, prefix, user, xsrf_token } = window.jhdata;
  const cards = document.getElementById("server-cards");
  const form = document.getElementById("new-server");
  const dialog = document.getElementById("delete-server");
  const servers = () => [...cards.children];
  const say = (text) => { document.getElementById("servers-said").textContent = text; };

  // --- requests

  const ask = (path, options) => fetch(base_url + path, { headers: { "X-XSRFToken": xsrf_token }, ...options });

  // Returns whether it succeeded; what went wrong is said beside the button.
  const request = async (method, name, body, where) => {
    const path = `api/users/${encodeURIComponent(user)}/server${name ? `s/${encodeURIComponent(name)}` : ""}`;
    const shown = where.querySelector(".error");
    shown.hidden = true;
    try {
      const answer = await ask(path, { method, body: body && JSON.stringify(body) });
      if (answer.ok) return true;
      shown.textContent = (await answer.json()).message;
    } catch {
      shown.textContent = "The Hub does not answer. Please try again.";
    }
    shown.hidden = false;
    return false;
  };

  // --- what changes

  const parts = (root) => new Map([...root.querySelectorAll("[data-part]")].map((each) => [each.dataset.part, each]));

  const update = (fresh) => {
    const wanted = [...fresh.querySelectorAll("[data-server]")];
    const names = new Set(wanted.map((each) => each.dataset.server));
    for (const gone of servers().filter((each) => !names.has(each.dataset.server))) gone.remove();
    wanted.forEach((each, place) => {
      const shown = servers().find((other) => other.dataset.server === each.dataset.server);
      if (!shown) return cards.insertBefore(each, cards.children[place] ?? null);
      if (shown.dataset.state !== each.dataset.state) say(`${each.dataset.title}: ${each.dataset.state}`);
      shown.dataset.state = each.dataset.state;
    });
    const found = parts(fresh);
    for (const [key, shown] of parts(document)) {
      const part = found.get(key);
      // Only what differs, so that the focus and a selection stay.
      if (!part || (shown.innerHTML === part.innerHTML && shown.hidden === part.hidden)) continue;
      const hadFocus = shown.contains(document.activeElement);
      shown.hidden = part.hidden;
      shown.replaceChildren(...part.childNodes);
      if (hadFocus) (shown.closest("[data-server]") ?? shown).querySelector("h2")?.focus();
    }
    if (form) form.hidden = fresh.querySelector("#new-server")?.hidden ?? true;
    check();
  };

  let timer;
  let latest = 0;
  const refresh = async () => {
    const mine = ++latest;
    try {
      const answer = await ask("home/servers");
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      // An older answer must not undo what a newer one showed.
      if (mine !== latest) return;
      if (fresh.getElementById("servers")) update(fresh);
      // The session has ended: this leads to the login.
      else if (answer.ok) location.reload();
    } catch {
      // The Hub may just be restarting.
    }
    clearTimeout(timer);
    const shown = [...document.querySelectorAll("[data-state]")];
    const pending = shown.some((each) => !SETTLED.includes(each.dataset.state));
    if (!document.hidden) timer = setTimeout(refresh, pending ? PENDING_MS : REFRESH_MS);
  };
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  // The Hub answers as soon as somebody else opens one of the servers.
  let latestVisit = "";
  longPoll(
    () => `${base_url}home/visits?known=${latestVisit}`,
    ({ latest: visit }) => {
      if (latestVisit && visit !== latestVisit) refresh();
      latestVisit = visit;
    },
  );

  // --- stop and delete

  cards.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-action]");
    if (!button) return;
    const card = button.closest("[data-server]");
    const { server, title } = card.dataset;
    if (button.dataset.action === "stop") {
      // A button that is disabled loses the focus.
      card.querySelector("h2").focus();
      button.disabled = true;
      const stopped = request("DELETE", server, null, card);
      // The Hub answers when it has stopped.
      setTimeout(refresh, 200);
      if (!(await stopped)) button.disabled = false;
      refresh();
    }
    if (button.dataset.action === "tidy") {
      button.disabled = true;
      setTimeout(refresh, 200);
      if (!(await post("home/tidy", { server }, card.querySelector(".error")))) button.disabled = false;
      refresh();
    }
    if (button.dataset.action === "delete") {
      document.getElementById("delete-title").textContent = `Delete ${title}?`;
      dialog.returnValue = "";
      dialog.onclose = async () => {
        if (dialog.returnValue !== "delete") return;
        button.disabled = true;
        const deleted = request("DELETE", server, { remove: true }, card);
        // Archiving its files may take minutes.
        setTimeout(refresh, 200);
        if (await deleted) {
          say(`${title} was deleted`);
          document.getElementById("servers-title").focus();
        } else button.disabled = false;
        refresh();
      };
      dialog.showModal();
    }
  });

  // --- servers that others share

  document.getElementById("shared").addEventListener("click", async ({ target }) => {
    const what = target.dataset.shared;
    if (!what) return;
    const card = target.closest("[data-owner]");
    const { owner, of: server } = card.dataset;
    target.disabled = true;
    const done = post(`sharing/${what}`, { owner, server }, card.querySelector(".error"));
    // The Hub answers a start when the server runs, or after ten seconds.
    if (what === "start") setTimeout(refresh, 200);
    if (await done) refresh();
    else target.disabled = false;
  });

  // --- another server

  const display = () => sanitise_display_name(document.getElementById("new-name").value);

  const slug = () => {
    const taken = new Set(servers().map((each) => each.dataset.server));
    const wanted = safe_slug(display());
    let found = wanted;
    for (let number = 2; taken.has(found); number++) {
      const end = `-${number}`;
      found = wanted.slice(0, LONGEST_SLUG - end.length).replace(/-+$/, "") + end;
    }
    return found;
  };

  const check = () => {
    if (!form) return;
    const address = display() ? `Its address: ${prefix}user/${encodeURIComponent(user)}/${slug()}/` : "Any name, such as My Server.";
    const shown = document.getElementById("new-address");
    if (shown.textContent !== address) shown.textContent = address;
    form.querySelector("button").disabled = !display();
  };

  form?.addEventListener("input", check);
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!display()) return;
    const [name, title] = [slug(), display()];
    form.querySelector("button").disabled = true;
    if (await request("PUT", name, { display_name: title }, form)) {
      document.getElementById("new-name").value = "";
      await refresh();
      say(`${title} was added`);
      servers().find((each) => each.dataset.server === name)?.querySelector("h2").focus();
    }
    check();
  });

  check();
  refresh();
});
