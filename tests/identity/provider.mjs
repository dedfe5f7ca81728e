// A real OpenID provider for the tests: `node provider.mjs PORT REDIRECT`. Its sign-in form takes any name; PKCE is required.
import Provider from 'oidc-provider';

const [port, redirect] = process.argv.slice(2);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'coderunner',
    client_secret: 'the-secret-of-this-test-and-of-no-other',
    redirect_uris: [redirect],
    response_types: ['code'],
    grant_types: ['authorization_code'],
  }],
  claims: { openid: ['sub', 'name', 'roles', 'rooms'] },
  conformIdTokenClaims: false,
  cookies: { keys: ['keys of this test'] },
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: `${id} of the test`, roles: id === 'olga' ? ['operator'] : [], rooms: ['algebra'] }),
  }),
});
provider.listen(Number(port), '127.0.0.1', () => console.log('listening'));
