// The recipe's client without its library: the same three requests, the same frames, nothing of ours.
// node recipe_client.mjs BASE: prints one JSON line for each thing that the recipe's page would show.
const base = process.argv[2];
const say = (event, data) => console.log(JSON.stringify({ event, data }));

let messages = [];

// Initial load
const rows = await (await fetch(`${base}/messages`)).json();
messages = rows;
say('loaded', messages);

// Live updates via WebSocket
const ws = new WebSocket(`${base.replace('http', 'ws')}/rooms/lobby`, ['chat.v1']);
const waiting = [];
const next = (type) => new Promise((resolve) => waiting.push({ type, resolve }));
ws.onmessage = ({ data }) => {
  const frame = JSON.parse(data);
  if (frame.type === 'message') messages = [...messages, frame.entry];
  const index = waiting.findIndex((one) => one.type === frame.type);
  if (index >= 0) waiting.splice(index, 1)[0].resolve(frame);
};

const send = (body) =>
  fetch(`${base}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

say('hello', await next('hello'));

const live = next('message');
const answer = await send({ user: 'ada', text: 'from the recipe' });
say('posted', { status: answer.status, entry: await answer.json() });
// No manual refresh: the WS frame patches `messages`.
say('message', await live);
say('messages', messages);

say('refused', (await send({ user: 'ada' })).status);

const echo = next('echo');
ws.send(JSON.stringify({ type: 'wave', at: 7 }));
say('echo', await echo);

ws.onclose = ({ wasClean }) => say('closed', wasClean);
ws.close();
