// A request of the pages about sharing; returns the answer, or null after it has shown what went wrong.
const ask_about_sharing = async (path, body, shown) => {
  shown.hidden = true;
  const { base_url, xsrf_token } = window.jhdata;
  const headers = { "X-XSRFToken": xsrf_token, "Content-Type": "application/json" };
  try {
    const answer = await fetch(base_url + path, { method: "POST", headers, body: JSON.stringify(body) });
    if (answer.ok) return answer.status === 204 || answer.status === 202 ? {} : await answer.json();
    shown.textContent = (await answer.json()).message;
  } catch {
    shown.textContent = "The Hub does not answer. Please try again.";
  }
  shown.hidden = false;
  return null;
};
