/** `npm run sidecar -- sign-bundle`: a bundle in, a signed bundle out, and nobody asked. */

import { parseArgs } from 'node:util'
import { BUNDLE_EXIT_CODES, readBundle, writeBundle } from '@dvt-relayer/api/bundle.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { count } from '@dvt-relayer/common/findings.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { readOfflineConfig } from '../config.ts'
import { signBundle } from './sign-bundle.ts'

/** Runs the command. Returns an exit code: 0 where all of the bundle is signed. @throws {BundleError | BootError} */
export async function signBundleCommand(
  args: readonly string[],
  environment: Environment,
  signal: AbortSignal,
): Promise<number> {
  try {
    return await sign(args, environment, signal)
  } catch (error) {
    if (!signal.aborted) throw error
    process.stderr.write('stopped: nothing is written\n')
    return 1
  }
}

async function sign(args: readonly string[], environment: Environment, signal: AbortSignal): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: { in: { type: 'string', default: '' }, out: { type: 'string', default: '' } },
  })
  if (values.in === '' || values.out === '')
    throw new BootError(
      'USAGE',
      'sign-bundle wants both files: npm run sidecar -- sign-bundle --in bundle.json --out signed.json',
    )
  const { config, warnings } = readOfflineConfig(environment)
  const bundle = await readBundle(values.in)
  // Standard output is the result's.
  const logger = createLogger({ ...config.log, destination: process.stderr })
  for (const warning of warnings) logger.warn({ warning }, 'check the settings')
  const { signed, left, refusals } = await signBundle(config, bundle, { logger, signal })
  // What was given up half way leaves no file that looks like all there is.
  signal.throwIfAborted()
  await writeBundle(values.out, signed)
  const done = signed.exits.length + signed.validators.length
  const pairs = signed.validators.length
  console.log(
    [
      `${values.out}: ${count(done, 'validator')} signed for share index ${signed.share_index}${pairs === 0 ? '' : `, ${pairs} of them with a deposit`}`,
      ...refusals.map(({ meaning, validators }) => `  not signed: ${count(validators, 'validator')}: ${meaning}`),
      ...(left === 0 ? [] : [`${count(left, 'validator')} left out; they stand in the next bundle if still wanted`]),
      'hand it in with: npm run relayer -- take-bundle',
    ].join('\n'),
  )
  if (left === 0) return 0
  return BUNDLE_EXIT_CODES[done === 0 ? 'BUNDLE_REFUSED' : 'BUNDLE_PARTIAL']
}
