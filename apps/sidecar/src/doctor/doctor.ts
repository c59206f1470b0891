/** `doctor`: what is there, what is wrong, and what to do. It changes nothing: no file is written, nothing is signed or posted. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { finding, reportOf } from '@dvt-relayer/common/findings.ts'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { readConfig, type SidecarConfig } from '../config.ts'
import type { Finding, Report } from '../findings.ts'
import { identityOf, openIdentity } from '../lists/identity.ts'
import { credentialsFinding } from '../summary.ts'
import { examineJournal } from './journal.ts'
import { examineKeys, type OpenedKeys } from './keys.ts'
import { examineConsensus, examineExecution, examineRelayer, examineSigners } from './network.ts'
import { askWhoami, heldOf, withWhoami } from './whoami.ts'

/** What one check may take; decrypting keystores takes what it takes, and says how far it is. */
const CHECK_MS = 20_000

export interface DoctorOptions {
  /** Keystores are looked at, not decrypted. */
  readonly isQuick: boolean
  onProgress(line: string): void
  readonly signal: AbortSignal
}

/** Finds out everything at once. Never throws: what goes wrong is a finding. */
export async function examine(environment: Environment, options: DoctorOptions): Promise<Report> {
  let config: SidecarConfig
  let warnings: string[]
  try {
    ;({ config, warnings } = readConfig(environment))
  } catch (error) {
    return reportOf(null, [finding('settings', 'problem', messageOf(error))])
  }
  const settings = finding(
    'settings',
    warnings.length > 0 ? 'warning' : 'good',
    `NETWORK=${config.network.name}, CLUSTER_TYPE=${config.ssv === undefined ? 'OBOL' : 'SSV'}, GENERATION=${config.generation}`,
    { details: warnings },
  )
  const stop = new AbortController()
  const signal = AbortSignal.any([options.signal, stop.signal])
  /** Only what is bounded by the number of keystores may take longer. */
  const isLong = config.ssv === undefined && config.remoteSigner === undefined && config.keymanager === undefined
  let opened: OpenedKeys | undefined
  const onOpened = (keys: OpenedKeys) => {
    opened = keys
  }
  try {
    const keysWork = examineKeys(config, { ...options, onOpened, signal })
    const keysFound = isLong ? keysWork : bounded('keys', keysWork)
    // An SSV operator shows the relayer a key that is opened with the key shares.
    const shown = identityOf(config) === 'operator_key' ? keysFound : undefined
    const identity = Promise.resolve(shown).then(() => openIdentity(config, () => opened))
    const [keys, signer, relayer, who, ...others] = await Promise.all([
      keysFound,
      bounded('signer', examineSigners(config, signal)),
      Promise.resolve(shown).then(() =>
        bounded(
          'relayer',
          identity.then((sign) => examineRelayer(config, sign, signal)),
        ),
      ),
      identity.then(
        (sign) => askWhoami(config, sign, signal),
        () => undefined,
      ),
      bounded('consensus', examineConsensus(config)),
      bounded('execution', examineExecution(config, signal)),
      bounded('journal', examineJournal(config)),
    ])
    const findings = [keys, signer, withWhoami(relayer, who, heldOf(config, keys)), ...others]
    return reportOf(config.network.name, [settings, ...findings, credentialsFinding(config)])
  } finally {
    // What was given up goes on no longer.
    stop.abort()
  }
}

async function bounded(check: Finding['check'], work: Promise<Finding>): Promise<Finding> {
  try {
    return await withTimeout(work, CHECK_MS)
  } catch (error) {
    return finding(check, 'problem', messageOf(error))
  }
}
