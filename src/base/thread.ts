import { getCompileCacheDir } from 'node:module';
import path from 'node:path';
import { Worker, type WorkerOptions } from 'node:worker_threads';

/**
 * Starts a thread that runs a file beside the caller's: its source here, its compiled neighbour in the package. It gets
 * nothing of the process's environment but where compiled code is kept. Without that it would load the compiler that
 * takes types off: 18 MB and a tenth of a second.
 * @param name of the file, without its ending
 * @param from `import.meta.url` of the caller
 */
export function startThread(name: string, from: string, options: WorkerOptions): Worker {
  const kept = getCompileCacheDir();
  const env = kept === undefined ? {} : { NODE_COMPILE_CACHE: path.dirname(kept) };
  return new Worker(new URL(`./${name}.${from.endsWith('.ts') ? 'ts' : 'js'}`, from), { env, ...options });
}
