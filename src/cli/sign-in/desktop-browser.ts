import { startAndForget } from '../../base/spawn.ts';
import type { VerbContext } from '../verbs.ts';

/** Opens a page in the browser of whoever sits at this very machine, as far as that can be told. */
export function openPage(url: URL, env: VerbContext['env']): void {
  if (!process.stderr.isTTY || env.SSH_CONNECTION) return;
  if (process.platform === 'darwin') startAndForget('open', [url.href]);
  else if (process.platform === 'win32')
    startAndForget('rundll32', ['url.dll,FileProtocolHandler', url.href]);
  else if (env.DISPLAY || env.WAYLAND_DISPLAY) startAndForget('xdg-open', [url.href]);
}
