/** Key shares of SSV operators: found on the chain or in files, decrypted once with the operator's key (docs/protocol.md#12-ssv). */

import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import { openKeyShare } from '@dvt-relayer/crypto/ssv/shares.ts'
import type { SsvConfig } from '../../config/ssv.ts'
import { createHeldShares } from '../held-shares.ts'
import { KeysError } from '../keys-error.ts'
import type { Keystore } from '../keystore.ts'
import { createOpenedShares } from './opened-shares.ts'
import type { OperatorRef } from './operator-ref.ts'
import { openOperators, type SsvOperator } from './operators.ts'
import { createSsvSource, type FoundShare, type SsvFindings, type SsvSourceOptions } from './source.ts'

export interface SsvOptions extends Omit<SsvSourceOptions, 'sources' | 'operators'> {
  ssv: SsvConfig
}

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
  const keyOf = ({ operator }: FoundShare) => (refs.get(operator) as SsvOperator).key
  const held = createHeldShares(engine)
  const opened = createOpenedShares((found) => openKeyShare(engine, keyOf(found), found.share), events)
  if (ssv.owners.length === 0) events.anyOwner()

  return {
    get keyShares() {
      return held.keyShares
    },
    operatorKeys: operators.map(({ source: { operatorId: id }, key }) => ({ id, sign: key.sign })),
    sign: held.sign,
    async reload(signal) {
      const findings = await source.look(signal)
      const isChanged = held.replace(await opened.open(findings.shares, signal))
      events.ssvSharesSkipped(opened.failedCount())
      throwProblems(findings, ssv)
      return isChanged
    },
    async [Symbol.asyncDispose]() {
      held.replace([])
      opened.wipe()
    },
  }
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
