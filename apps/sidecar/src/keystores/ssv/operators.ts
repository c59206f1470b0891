/** The private keys of SSV operators, from their files (docs/protocol.md#12-ssv). */

import { BootError, messageOf, reasonOf } from '@dvt-relayer/common/errors.ts'
import { readBytes } from '@dvt-relayer/common/files/text-file.ts'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { type OperatorKey, OperatorKeyError, openOperatorKey } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import type { SsvOperatorSource } from '../../config/ssv.ts'
import type { Events } from '../../events.ts'

/** One operator this process acts for. */
export interface SsvOperator {
  readonly source: SsvOperatorSource
  readonly key: OperatorKey
}

/** Opens every operator's key file. @throws {BootError} OPERATOR_KEY_UNREADABLE, OPERATOR_KEY_TWICE */
export async function openOperators(
  sources: readonly SsvOperatorSource[],
  events: Pick<Events, 'operatorKeyMislabelled'>,
): Promise<SsvOperator[]> {
  const operators: SsvOperator[] = []
  for (const source of sources) {
    const key = await openKeyFile(source)
    if (key.isMislabelled) events.operatorKeyMislabelled(source.keyFile)
    const same = operators.find((other) => equalBytes(other.key.publicKey, key.publicKey))
    if (same !== undefined)
      throw new BootError(
        'OPERATOR_KEY_TWICE',
        `${same.source.keyFile} and ${source.keyFile} hold the same operator key`,
      )
    operators.push({ source, key })
  }
  return operators
}

async function openKeyFile({ keyFile, passwordFile }: SsvOperatorSource): Promise<OperatorKey> {
  const file = await read(keyFile, 'operator key file', 'SSV_OPERATOR_KEY_FILE')
  const password =
    passwordFile === undefined
      ? undefined
      : await read(passwordFile, 'password file of the operator key', 'SSV_OPERATOR_PASSWORD_FILE')
  try {
    return await openOperatorKey(file, password)
  } catch (error) {
    const isMissing = error instanceof OperatorKeyError && error.code === 'OPERATOR_KEY_PASSWORD_MISSING'
    const reason = messageOf(error).replace(/^(operator key|keystore): /, '')
    const hint = isMissing
      ? '; name it with SSV_OPERATOR_PASSWORD_FILE'
      : passwordFile === undefined
        ? ''
        : `; its password file is ${passwordFile}`
    throw new BootError(
      'OPERATOR_KEY_UNREADABLE',
      `the operator key file ${keyFile} cannot be opened: ${reason}${hint}`,
    )
  } finally {
    file.fill(0)
    password?.fill(0)
  }
}

async function read(path: string, what: string, setting: string): Promise<Buffer> {
  try {
    return await readBytes(path)
  } catch (error) {
    throw new BootError(
      'OPERATOR_KEY_UNREADABLE',
      `the ${what} ${path} cannot be read (${reasonOf(error)}); ${setting} must name a file this user may read`,
    )
  }
}
