/** Keeps what Node has compiled, so that the next start need not compile it again: about half of a start. */

import { enableCompileCache } from 'node:module'
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
  // Node writes at the end of a process, when nobody waits for it any more. To write before takes some 150 ms in which nothing else is done,
  // for the sake of a process that is killed before it was ever stopped.
  enableCompileCache()
}
