/** Key shares of SSV operators: found on the chain or in files, decrypted once with the operator's key (protocol section 12). */

import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import { openKeyShare } from '@dvt-relayer/crypto/ssv/shares.ts'
import type { SsvConfig } from '../../config/ssv.ts'
import { createHeldShares, type HeldShare } from '../held-shares.ts'
import { KeysError } from '../keys-error.ts'
import { idOfShare, type Keystore } from '../keystore.ts'
import { startProgress } from '../progress.ts'
import type { OperatorRef } from './operator-ref.ts'
import { openOperators, type SsvOperator } from './operators.ts'
import { createSsvSource, type FoundShare, type SsvFindings, type SsvSourceOptions } from './source.ts'

export interface SsvOptions extends Omit<SsvSourceOptions, 'sources' | 'operators'> {
  ssv: SsvConfig
}

/** Shares between two looks at the event loop: about 5 ms. */
const SLICE = 4

/**
 * Opens the operators' key files. Key shares come with the first `reload`, which throws a BootError for what a restart would not
 * mend, and something else where an execution node is away: then the keys come with a later one.
 *
 * @throws {BootError} OPERATOR_KEY_UNREADABLE, OPERATOR_KEY_TWICE
 */
export async function openSsvKeystore(options: SsvOptions): Promise<Keystore> {
  const { ssv, engine, events } = options
  const operators = await openOperators(ssv.operators, events)
  const refs = new Map<OperatorRef, SsvOperator>()
  for (const operator of operators) {
    const { source, key } = operator
    refs.set({ id: source.operatorId, publicKey: key.publicKey, name: source.keyFile }, operator)
  }
  const source = createSsvSource({ ...options, sources: ssv, operators: [...refs.keys()] })
  const held = createHeldShares(engine)
  /** What was decrypted, undefined where that failed, by operator and content: each is decrypted once. */
  const opened = new Map<string, Uint8Array | undefined>()
  if (ssv.owners.length === 0) events.anyOwner()

  /** Decrypts what is new, and forgets what is wanted no more. */
  async function open(shares: readonly FoundShare[], signal: AbortSignal): Promise<HeldShare[]> {
    const wanted = new Map(shares.map((found) => [contentOf(found), found]))
    const fresh = [...wanted].filter(([content]) => !opened.has(content))
    const failed: FoundShare[] = []
    let done = 0
    const stop = startProgress((seconds) => events.decryptingShares(done, fresh.length, seconds))
    try {
      for (const [content, found] of fresh) {
        const secret = openKeyShare(engine, (refs.get(found.operator) as SsvOperator).key, found.share)
        opened.set(content, secret)
        if (secret === undefined) failed.push(found)
        if (++done % SLICE === 0) await setImmediate()
        signal.throwIfAborted()
      }
    } finally {
      stop()
    }
    if (failed.length > 0) events.sharesUndecipherable(failed)
    for (const [content, secret] of opened)
      if (!wanted.has(content)) {
        secret?.fill(0)
        opened.delete(content)
      }
    return shares.flatMap((found) => {
      const secretKey = opened.get(contentOf(found))
      return secretKey === undefined ? [] : [{ keyShare: found.keyShare, secretKey }]
    })
  }

  return {
    get keyShares() {
      return held.keyShares
    },
    sign: held.sign,
    async reload(signal) {
      const findings = await source.look(signal)
      const isChanged = held.replace(await open(findings.shares, signal))
      const skipped = [...opened.values()].filter((secret) => secret === undefined).length
      events.ssvSharesSkipped(skipped)
      throwProblems(findings, ssv)
      return isChanged
    },
    async [Symbol.asyncDispose]() {
      held.replace([])
      for (const secret of opened.values()) secret?.fill(0)
      opened.clear()
    },
  }
}

/** What a decryption depends on, and which key share it is for. */
function contentOf({ operator, keyShare, share }: FoundShare): string {
  const hash = createHash('sha256').update(share.encryptedKeyShare).update(share.publicKeyShare).digest('base64')
  return `${operator.name} ${idOfShare(keyShare)} ${hash}`
}

function throwProblems({ problems, shares }: SsvFindings, { operators, chain }: SsvConfig): void {
  const [first, ...more] = problems
  if (first === undefined) {
    // On the chain the first validator may be registered any time; files without any are the wrong ones.
    if (shares.length > 0 || chain !== undefined) return
    const names = operators.map(({ keyFile, operatorId }) =>
      operatorId === undefined ? keyFile : `${keyFile} as operator ${operatorId}`,
    )
    throw new BootError(
      'KEYSHARES_OF_OTHERS',
      `no validator of SSV_KEYSHARES_FILES has a share for the key of ${names.join(', ')}: are the files of other operators or owners? (SSV_OPERATOR_KEY_FILE, SSV_OPERATOR_ID, SSV_OWNERS)`,
    )
  }
  if (more.length === 0) throw first
  const isFinal = problems.find((problem) => problem instanceof BootError)
  const message = problems.map((problem) => messageOf(problem)).join('; ')
  if (isFinal !== undefined) throw new BootError(isFinal.code, message, { cause: isFinal })
  throw new KeysError('KEYS_INCOMPLETE', message, { cause: first })
}
