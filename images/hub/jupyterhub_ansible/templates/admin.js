// The administrators' page: the table of servers, which refreshes itself, and messages.
(() => {
  {% include "requests.js" %}
  const REFRESH_MS = 5000;
  const { base_url, xsrf_token } = window.jhdata;
  const section = document.getElementById("now");
  const table = document.getElementById("servers-now");
  const error = section.querySelector(".error");
  const form = document.getElementById("new-message");
  const to = document.getElementById("message-to");
  const text = document.getElementById("message-text");
  const lasts = document.getElementById("message-lasts");

  let timer;
  const refresh = async () => {
    clearTimeout(timer);
    try {
      const answer = await fetch(`${base_url}admin/servers`);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body.firstElementChild;
      if (fresh?.querySelector("table")) {
        if (!lasts.length) lasts.append(...fresh.querySelector("#lengths").content.cloneNode(true).children);
        // Not while a button in it has the focus: the next one comes soon.
        if (!table.contains(document.activeElement)) table.replaceChildren(fresh);
      }
    } catch {
      // The Hub may just be restarting.
    }
    if (!document.hidden) timer = setTimeout(refresh, REFRESH_MS);
  };
  document.addEventListener("visibilitychange", () => document.hidden || refresh());

  const server = async (method, { user, server }) => {
    error.hidden = true;
    const path = `api/users/${encodeURIComponent(user)}/server${server ? `s/${encodeURIComponent(server)}` : ""}`;
    const answer = await fetch(base_url + path, { method, headers: { "X-XSRFToken": xsrf_token } });
    if (answer.ok) return;
    error.textContent = (await answer.json()).message;
    error.hidden = false;
  };

  section.addEventListener("click", async ({ target }) => {
    const what = target.dataset.now;
    if (!what) return;
    const row = target.closest("tr")?.dataset;
    if (what === "message") {
      to.value = row.user;
      text.focus();
      return;
    }
    if (what === "stop" && !confirm(`Stop the server of ${row.user}? Files stay; what notebooks hold in memory is lost.`)) return;
    target.disabled = true;
    target.blur();
    if (what === "stop") await server("DELETE", row);
    if (what === "start") await server("POST", row);
    if (what === "measure") await post("admin/homes", {}, error);
    if (what === "remove") await post("messages/send", { remove: Number(target.dataset.id) }, error);
    refresh();
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = { text: text.value, username: to.value.trim() || null, lasts_s: Number(lasts.value) };
    if (await post("messages/send", body, error)) {
      text.value = "";
      to.value = "";
    }
    refresh();
  });

  refresh();
})();
