// Answers 0 when the proxy's public port does: it has a path of its own for this.
const request = require('http').get('http://127.0.0.1:8000/_chp_healthz', { timeout: 2000 }, (answer) => {
  process.exit(answer.statusCode === 200 ? 0 : 1);
});
request.on('timeout', () => request.destroy());
request.on('error', () => process.exit(1));
