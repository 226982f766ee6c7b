// Shows messages of administrators on the Hub's pages as they come; the Lab's jupyterhub-messages does the same there.
(async () => {
  const shown = document.getElementById("messages");
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  let seen = "";
  for (;;) {
    try {
      const answer = await fetch(`${window.jhdata.base_url}messages?seen=${seen}`, { redirect: "manual" });
      // Logged out.
      if (answer.status !== 200) { await wait(60000); continue; }
      const { messages } = await answer.json();
      seen = messages.map(({ id }) => id).join(",");
      shown.replaceChildren(...messages.map(({ text }) => Object.assign(document.createElement("p"), { textContent: text, className: "alert alert-warning mb-2" })));
    } catch {
      // The Hub may just be restarting.
      await wait(5000);
    }
  }
})();
