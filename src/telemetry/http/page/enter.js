'use strict';
document.getElementById('enter').addEventListener('submit', async (submitted) => {
  submitted.preventDefault();
  const said = document.getElementById('said');
  const token = document.getElementById('token').value.trim();
  said.textContent = '';
  try {
    const answer = await fetch('/session', { headers: { Authorization: `Bearer ${token}` }, cache: 'no-store' });
    if (answer.ok) {
      location.reload();
      return;
    }
    said.textContent = 'That is not the token of this run.';
  } catch {
    said.textContent = /^[\x21-\x7e]*$/.test(token) ? 'The run does not answer; try again.' : 'That is not a token.';
  }
});
