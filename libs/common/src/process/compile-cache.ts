/** Keeps what Node has compiled, so that the next start need not compile it again: about half of a start. */

import { enableCompileCache, flushCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

/**
 * Beside the code, for whoever may write here may write the code as well. Never the system's temporary folder, which is Node's own
 * choice: what lies there others may have put there.
 */
const FOLDER = fileURLToPath(new URL('../../../node_modules/.cache/compiled', import.meta.url))

/**
 * Call it before anything else is imported. Where the folder cannot be written (a read-only image), where `NODE_COMPILE_CACHE` names
 * another, or `NODE_DISABLE_COMPILE_CACHE` is set, that holds, without a word.
 *
 * @param environment that of the process
 */
export function keepCompiled(environment: NodeJS.ProcessEnv): void {
  // In the environment, so that worker threads take it too.
  environment['NODE_COMPILE_CACHE'] ??= FOLDER
  enableCompileCache()
}

/**
 * Writes what was compiled up to now; where nothing is kept, nothing. Node does it at a process's end, and one that is killed would leave
 * nothing. Call it when all that a start needs is loaded, and before anybody is answered: where there is something new, it takes the
 * event loop for more than a tenth of a second.
 */
export const writeCompiled = (): void => flushCompileCache()
