// A real OAuth 2 and OpenID server (npm oidc-provider) and a small git server that asks it about
// each token. Prints one line of JSON with both addresses. Arguments: the directory that
// oidc-provider is installed below, a directory of bare repositories, and options as JSON:
// accessToken and deviceCode are lifetimes in seconds; delay is how long the token endpoint takes
// before its answer goes out, in milliseconds.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';

const [, , tools, repositories, json] = process.argv;
const options = JSON.parse(json);
const { default: Provider } = await import(`${tools}/node_modules/oidc-provider/lib/index.js`);

const listening = (server) =>
  new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));
let handle;
const server = createServer((request, response) => handle(request, response));
const issuer = `http://127.0.0.1:${await listening(server)}`;

const client = {
  application_type: 'native',
  grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  redirect_uris: ['http://127.0.0.1/', 'http://localhost/back'],
  response_types: ['code'],
};
const provider = new Provider(issuer, {
  clients: [
    { ...client, client_id: 'public', token_endpoint_auth_method: 'none' },
    { ...client, client_id: 'basic', client_secret: 'of-basic', token_endpoint_auth_method: 'client_secret_basic' },
    { ...client, client_id: 'post', client_secret: 'of-post', token_endpoint_auth_method: 'client_secret_post' },
    {
      client_id: 'git', client_secret: 'of-git', redirect_uris: [], response_types: [], grant_types: [],
    },
  ],
  claims: { openid: ['sub', 'preferred_username'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id }),
  }),
  cookies: { keys: ['of-the-test'] },
  features: {
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
  pkce: { methods: ['S256'], required: () => true },
  rotateRefreshToken: true,
  ttl: {
    AccessToken: () => options.accessToken ?? 3600,
    DeviceCode: () => options.deviceCode ?? 600,
    RefreshToken: () => 30 * 86400,
    Grant: () => 30 * 86400,
    IdToken: () => 3600,
    Interaction: () => 3600,
    Session: () => 3600,
  },
});

// What the token endpoint did: what the test counts.
const seen = { refreshed: 0, reused: 0, refused: 0, tokenRequests: 0 };
provider.on('grant.success', (ctx) => {
  if (ctx.oidc.params.grant_type === 'refresh_token') seen.refreshed += 1;
});
provider.on('grant.error', (ctx, error) => {
  if (ctx.oidc.params?.grant_type !== 'refresh_token') return;
  seen.refused += 1;
  if (/already used/.test(error.error_detail ?? '')) seen.reused += 1;
});
provider.use(async (ctx, next) => {
  await next();
  // For who polls not to wait the usual 5 seconds.
  if (ctx.path === '/device/auth' && ctx.body?.device_code) ctx.body.interval = 1;
});
let away = false;

const answer = (response, status, body) => {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': text.length });
  response.end(text);
};
const callback = provider.callback();
const isTokenRequest = (request) => request.method === 'POST' && request.url === '/token';

handle = async (request, response) => {
  const url = new URL(request.url, issuer);
  if (url.pathname === '/test/seen') return answer(response, 200, seen);
  if (url.pathname === '/test/options') {
    for (const [name, value] of url.searchParams) options[name] = Number(value);
    away = Boolean(options.away);
    return answer(response, 200, {});
  }
  if (url.pathname === '/test/approve') {
    // As a person who confirms a device's code, or denies it.
    const code = await provider.DeviceCode.findByUserCode(
      url.searchParams.get('user_code').replace(/[^A-Z0-9]/gi, '').toUpperCase(),
    );
    if (!code) return answer(response, 404, {});
    if (url.searchParams.has('deny')) {
      Object.assign(code, { error: 'access_denied', errorDescription: 'said' });
      await code.save();
      return answer(response, 200, {});
    }
    const accountId = url.searchParams.get('account') ?? 'ada';
    const grant = new provider.Grant({ accountId, clientId: code.clientId });
    grant.addOIDCScope('openid offline_access');
    Object.assign(code, {
      accountId, grantId: await grant.save(), scope: 'openid offline_access', claims: {},
      authTime: Math.floor(Date.now() / 1000),
    });
    await code.save();
    return answer(response, 200, {});
  }
  if (isTokenRequest(request)) {
    seen.tokenRequests += 1;
    // Neither an answer nor the end of the connection.
    if (away) return undefined;
    if (options.failing) return answer(response, 500, {});
    if (options.delay) {
      // The server has done it; the answer is on its way.
      const end = response.end.bind(response);
      response.end = (...rest) => setTimeout(() => end(...rest), options.delay);
    }
  }
  return callback(request, response);
};

const introspect = async (token) => {
  const asked = await fetch(`${issuer}/token/introspection`, {
    method: 'POST',
    headers: { Authorization: `Basic ${btoa('git:of-git')}` },
    body: new URLSearchParams({ token }),
  });
  return (await asked.json()).active === true;
};

const git = createServer(async (request, response) => {
  const [scheme, value] = (request.headers.authorization ?? '').split(' ');
  const token = scheme === 'Basic' ? atob(value).split(':').slice(1).join(':') : value;
  if (!token || !(await introspect(token))) {
    response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="test"' });
    return response.end();
  }
  const url = new URL(request.url, 'http://git');
  const backend = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env.PATH, HOME: repositories, GIT_PROJECT_ROOT: repositories, GIT_HTTP_EXPORT_ALL: '1',
      REQUEST_METHOD: request.method, PATH_INFO: url.pathname, QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers['content-type'] ?? '', REMOTE_USER: 'ada', REMOTE_ADDR: '127.0.0.1',
      GIT_PROTOCOL: request.headers['git-protocol'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
    },
  });
  request.pipe(backend.stdin);
  backend.stdin.on('error', () => {});
  const parts = [];
  backend.stdout.on('data', (part) => parts.push(part));
  backend.on('close', () => {
    const all = Buffer.concat(parts);
    const end = all.indexOf('\r\n\r\n');
    const headers = {};
    for (const line of all.subarray(0, end).toString().split('\r\n')) {
      const at = line.indexOf(': ');
      headers[line.slice(0, at)] = line.slice(at + 2);
    }
    const status = Number((headers.Status ?? '200').slice(0, 3));
    delete headers.Status;
    response.writeHead(status, headers);
    response.end(all.subarray(end + 4));
  });
  return undefined;
});
const gitUrl = `http://127.0.0.1:${await listening(git)}`;
console.log(JSON.stringify({ issuer, git: gitUrl }));
// It ends with the test that started it.
process.stdin.resume();
process.stdin.on('end', () => process.exit());
