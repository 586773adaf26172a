// An OAuth 2 server with client credentials: prints its port, and the tokens that it gives are opaque.
// One client may use the header alone, the other the body alone; both have a secret that has to be encoded.
import { Provider } from 'oidc-provider';

const secret = process.argv[2];
const client = (id, method) => ({
  client_id: id, client_secret: secret, token_endpoint_auth_method: method,
  grant_types: ['client_credentials'], response_types: [], redirect_uris: [], scope: 'deploy',
});
const provider = new Provider('http://127.0.0.1', {
  clients: [client('by-header', 'client_secret_basic'), client('by-body', 'client_secret_post')],
  features: { clientCredentials: { enabled: true }, introspection: { enabled: true }, devInteractions: { enabled: false } },
  scopes: ['deploy'],
  ttl: { ClientCredentials: Number(process.argv[3]) },
});
// The server itself takes either way from either client.
provider.use(async (ctx, next) => {
  await next();
  const { client, body } = ctx.oidc ?? {};
  if (ctx.path !== '/token' || !client) return;
  const used = ctx.get('authorization') ? 'client_secret_basic' : 'client_secret_post';
  if (client.clientAuthMethod !== used) {
    ctx.status = 401;
    ctx.body = { error: 'invalid_client', error_description: 'client authentication failed' };
  }
});
const server = provider.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
