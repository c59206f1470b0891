/** Makes the programs that tests start, where `programs.ts` finds them. */

import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { bundleApps, bundleEntries } from '../../../deploy/bundle.ts'
import { ROOT } from '../deploy/tools.ts'

/** Makes them in a folder, with what they expect around them. */
export async function makePrograms(folder: string): Promise<void> {
  // Beside the relayer, whose threads it has.
  const quick = { 'quick-relayer': join(ROOT, 'test/support/services/quick-relayer.ts') }
  const oracle = { oracle: join(ROOT, 'test/support/oracle/main.ts') }
  await Promise.all([bundleApps(folder, { relayer: quick }), bundleEntries('.', oracle, join(folder, 'test'))])
  for (const name of ['package.json', 'migrations', 'node_modules']) symlinkSync(join(ROOT, name), join(folder, name))
}
