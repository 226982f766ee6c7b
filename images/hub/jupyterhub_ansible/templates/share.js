// The page on which an owner shares a server: what its buttons do.
(() => {
  {% include "requests.js" %}
  const page = document.getElementById("share");
  const { server } = page.dataset;
  const error = page.querySelector(".error");
  const form = document.getElementById("new-link");

  // Only the lists, so that the new link stays on the page.
  const refresh = async () => {
    const fresh = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    document.getElementById("access").replaceWith(fresh.getElementById("access"));
  };

  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = {
      server,
      lasts_s: Number(document.getElementById("lasts").value),
      start: document.getElementById("may-start").checked,
    };
    const made = await post("sharing/links", body, error);
    if (!made) return;
    const link = document.getElementById("link");
    link.value = new URL(made.path, location.origin).href;
    document.getElementById("made").hidden = false;
    link.focus();
    link.select();
    await refresh();
  });

  document.getElementById("copy")?.addEventListener("click", async ({ target }) => {
    const link = document.getElementById("link");
    link.select();
    try {
      await navigator.clipboard.writeText(link.value);
      target.textContent = "Copied";
    } catch {
      // Without https the browser copies nothing; the link is selected.
      target.textContent = "Press Ctrl+C";
    }
  });

  page.addEventListener("click", async ({ target }) => {
    const what = target.dataset.end;
    if (!what) return;
    target.disabled = true;
    if (await post("sharing/end", { server, what, id: Number(target.dataset.id ?? 0) }, error)) {
      if (what !== "link") {
        const made = document.getElementById("made");
        if (made) made.hidden = true;
      }
      await refresh();
      page.querySelector("h1").focus();
    } else target.disabled = false;
  });
})();
