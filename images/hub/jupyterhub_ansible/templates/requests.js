// A request of our own pages; returns the answer, or null after it has shown what went wrong.
const post = async (path, body, shown) => {
  shown.hidden = true;
  const { base_url, xsrf_token } = window.jhdata;
  const headers = { "X-XSRFToken": xsrf_token, "Content-Type": "application/json" };
  try {
    const answer = await fetch(base_url + path, { method: "POST", headers, body: JSON.stringify(body) });
    const said = await answer.text();
    if (answer.ok) return said ? JSON.parse(said) : {};
    shown.textContent = JSON.parse(said).message;
  } catch {
    shown.textContent = "The Hub does not answer. Please try again.";
  }
  shown.hidden = false;
  return null;
};
