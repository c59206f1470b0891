/** What `doctor` finds of the keys: they are opened as the sidecar would open them, and nothing is written. */

import { access, constants } from 'node:fs/promises'
import { hasRealStake } from '@dvt-relayer/chain/networks.ts'
import { messageOf, reasonOf } from '@dvt-relayer/common/errors.ts'
import { count, finding } from '@dvt-relayer/common/findings.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import type { SidecarConfig } from '../config.ts'
import { createEvents, type Events } from '../events.ts'
import type { Finding } from '../findings.ts'
import type { Keystore } from '../keystores/keystore.ts'
import { createLockReader } from '../keystores/obol/lock.ts'
import { createObolNode } from '../keystores/obol/node.ts'
import { passwordFileOf } from '../keystores/obol/read-keystores.ts'
import { openKeystore } from '../open-keystore.ts'
import { countUnnamed, unnamedVaults } from '../policy/unnamed-vaults.ts'
import { keysFinding, type LockFound } from '../summary.ts'

/** A line of the log that stands for something wrong although the sidecar would start. */
const PARTIAL = 'this node holds keys for only some validators of its cluster'

export interface KeysOptions {
  /** Keystores are looked at, not decrypted. */
  readonly isQuick: boolean
  /** Told how far the decryption is. */
  onProgress(line: string): void
  /** Told what was opened. */
  onOpened(keys: OpenedKeys): void
  readonly signal: AbortSignal
}

/** What of opened keys the relayer is shown: it outlives them. */
export type OpenedKeys = Pick<Keystore, 'keyShares' | 'operatorKeys'>

/** Looks at the keys. */
export async function examineKeys(config: SidecarConfig, options: KeysOptions): Promise<Finding> {
  const locks: LockFound[] = []
  const warnings: { message: string; isProblem: boolean }[] = []
  const events = listeningEvents(locks, warnings, options)
  try {
    if (options.isQuick && config.obol.nodes.length > 0)
      return withWarnings(await lookAtKeystores(config, events, locks), warnings)
    const { keystore, problem } = await openKeystore(withoutWriting(config), { events, signal: options.signal })
    const { keyShares, operatorKeys } = keystore
    options.onOpened({ keyShares, ...(operatorKeys === undefined ? {} : { operatorKeys }) })
    try {
      const found = keysFinding(config, keystore.keyShares, locks)
      const unnamed = countUnnamed(config, keystore.keyShares)
      if (unnamed > 0)
        warnings.push({
          message: unnamedVaults(unnamed),
          // Where the relayer asks for no deposits, all is well.
          isProblem: hasRealStake(config.network) && config.generation === '4',
        })
      if (problem !== undefined) return withWarnings({ ...found, status: 'problem', message: problem }, warnings)
      return withWarnings(found, warnings)
    } finally {
      await keystore[Symbol.asyncDispose]()
    }
  } catch (error) {
    return withWarnings(finding('keys', 'problem', messageOf(error)), warnings)
  }
}

/** What is read of the chain is not kept. */
function withoutWriting(config: SidecarConfig): SidecarConfig {
  const { ssv } = config
  if (ssv?.chain === undefined) return config
  return { ...config, ssv: { ...ssv, chain: { ...ssv.chain, isReadOnly: true } } }
}

/** Events that remember locks and warnings, and tell of progress. */
function listeningEvents(
  locks: LockFound[],
  warnings: { message: string; isProblem: boolean }[],
  { onProgress }: KeysOptions,
): Events {
  const logger = createLogger({
    level: 'warn',
    format: 'json',
    destination: {
      write(line: string) {
        const { level: _level, time: _time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>
        const words = Object.entries(fields).map(([name, value]) => `${name} ${JSON.stringify(value)}`)
        const message = words.length === 0 ? String(msg) : `${msg} (${words.join(', ')})`
        warnings.push({ message, isProblem: msg === PARTIAL })
      },
    },
  })
  const left = (seconds: number, done: number, total: number) =>
    done === 0 ? '' : `, about ${Math.ceil((seconds / done) * (total - done))} s left`
  return {
    ...createEvents(logger),
    lockRead: (lock, file, isPinned) => void locks.push({ lock, file, isPinned }),
    decrypting: (done, total, seconds) =>
      onProgress(`decrypting keystores: ${done} of ${total}${left(seconds, done, total)}`),
    decryptingShares: (done, total) => onProgress(`decrypting key shares: ${done} of ${total}`),
    ssvScanning: (next, to) => onProgress(`reading the events of the SSV contract: block ${next} of ${to}`),
  }
}

function withWarnings(found: Finding, warnings: readonly { message: string; isProblem: boolean }[]): Finding {
  const details = [...found.details, ...warnings.map(({ message }) => message)]
  if (found.status === 'problem' || warnings.some(({ isProblem }) => isProblem))
    return { ...found, status: 'problem', details }
  return { ...found, status: warnings.length > 0 ? 'warning' : found.status, details }
}

/** Locks, and files as far as they can be seen without their passwords. */
async function lookAtKeystores(config: SidecarConfig, events: Events, locks: LockFound[]): Promise<Finding> {
  const { network, obol } = config
  const common = { network, lockHashes: obol.lockHashes, engine: createBlstEngine(), events }
  const readLock = createLockReader(common)
  const files: string[] = []
  for (const source of obol.nodes) files.push(...(await createObolNode(source, { ...common, readLock }).look()).fresh)
  const details: string[] = []
  for (const file of files.flatMap((name) => [name, passwordFileOf(name)]))
    await access(file, constants.R_OK).catch((error: unknown) => {
      details.push(`${file} cannot be read (${reasonOf(error)})`)
    })
  const { facts } = keysFinding(config, [], locks)
  const message = `${count(files.length, 'keystore')}, not decrypted (--quick): whether passwords and keys are right is not known`
  return finding('keys', details.length > 0 ? 'problem' : 'good', message, {
    details,
    facts: { ...facts, keystores: files.length },
  })
}
