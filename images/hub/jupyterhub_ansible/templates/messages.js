// Shows messages of administrators on the Hub's pages as they come; the Lab's jupyterhub-messages does the same there.
(() => {
  {% include "long_poll.js" %}
  const shown = document.getElementById("messages");
  let seen = "";
  longPoll(
    () => `${window.jhdata.base_url}messages?seen=${seen}`,
    ({ messages }) => {
      seen = messages.map(({ id }) => id).join(",");
      shown.replaceChildren(...messages.map(({ text }) => Object.assign(document.createElement("p"), { textContent: text, className: "alert alert-warning mb-2" })));
    },
  );
})();
