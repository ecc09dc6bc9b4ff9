import { Refusal } from '../../base/errors.ts';
import type { Passwords } from '../../identity/passwords.ts';
import type { Route } from './route.ts';

type Deps = {
  passwords: Passwords;
  /** Whether people sign in here at all. */
  signIn: boolean;
  publicUrl: string | undefined;
};

/** `/users/{name}/rotate`: the link by which somebody sets a password; users themselves are objects like others. */
export function userRoutes({ passwords, signIn, publicUrl }: Deps): Route[] {
  return [
    {
      method: 'POST',
      path: '/users/:name/rotate',
      need: { ask: (c) => ({ role: 'edit', resource: 'users', name: c.req.param('name') ?? '' }) },
      doc: {
        summary: 'Make the one-time link by which a user sets a password',
        answer: 'PasswordLink',
        status: 201,
      },
      handle: async (c) => {
        if (!signIn) {
          throw new Refusal(
            'conflict',
            'nobody signs in here, as the server is reached without encryption: give it an https --public-url',
          );
        }
        const user = c.req.param('name') ?? '';
        const { code, expiresAt } = await passwords.link(c.get('caller'), user);
        const url = `${publicUrl ?? new URL(c.req.url).origin}/invite/${code}`;
        return c.json({ user, url, expiresAt: new Date(expiresAt).toISOString() }, 201);
      },
    },
  ];
}
