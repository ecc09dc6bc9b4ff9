import { getCompileCacheDir } from 'node:module';
import path from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Worker, type WorkerOptions } from 'node:worker_threads';

/** What decides how Node and OpenSSL work, and holds no secret of ours. */
const OF_THE_RUNTIME = /^(?:NODE_(?!TLS_REJECT_UNAUTHORIZED$)|SSL_CERT_|OPENSSL_|TZ$)/;

/** Of three. What comes through a thread is short-lived: a young generation of the server's size fills for nothing. */
const SEMI_SPACE_MB = 1;

/**
 * Starts a thread that runs a file beside the caller's: its source here, its compiled neighbour in the package. Of the
 * process's environment it gets what is Node's own, so that both trust the same certificates, and where compiled code is
 * kept. Without that it would load the compiler that takes types off: 18 MB and a tenth of a second.
 * @param name of the file, without its ending
 * @param from `import.meta.url` of the caller
 * @throws when the system lets no thread start
 */
export function startThread(name: string, from: string, options: WorkerOptions = {}): Worker {
  const kept = getCompileCacheDir();
  const env = {
    ...Object.fromEntries(Object.entries(process.env).filter(([variable]) => OF_THE_RUNTIME.test(variable))),
    ...(kept !== undefined && { NODE_COMPILE_CACHE: path.dirname(kept) }),
  };
  // Read when an isolate starts; where the server was given such a flag, `resourceLimits` would change nothing.
  setFlagsFromString(`--max-semi-space-size=${SEMI_SPACE_MB}`);
  return new Worker(new URL(`./${name}.${from.endsWith('.ts') ? 'ts' : 'js'}`, from), { env, ...options });
}
