/** What the operator does with oracles when it registers validators: it asks all of them and takes enough equal approvals on chain. */

import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { Hex } from 'viem'
import { concatHex } from 'viem/utils'
import type { Outcome } from '../contracts/transactions.ts'
import type { Approval, Vault } from '../contracts/vault.ts'
import type { OracleAnswer } from '../oracle/oracle.ts'
import { joinSignatures } from '../oracle/oracle-approvals.ts'
import type { OracleProcess } from '../oracle/oracle-process.ts'
import { ask } from '../world/world.ts'
import type { RegisterAnswer } from './operator.ts'
import { encodeDeposit, hexOf } from './operator-encoding.ts'

/** The request for approval of what the relayer has answered. */
export async function approvalRequest(
  vault: Vault,
  type: '0x01' | '0x02',
  answer: RegisterAnswer,
  startIndex: number,
  deadline: number,
) {
  const encoded = answer.validators.map(({ public_key, amount, deposit_signature }) =>
    encodeDeposit(vault.address, type, public_key, amount, fromHex(deposit_signature ?? '', 96)),
  )
  const shares = answer.validators.map((item) => item.oracles_exit_signature_shares)
  return {
    vault_address: vault.address,
    validator_index: startIndex,
    validators_root: await vault.depositContract.root(),
    validators: concatHex(encoded),
    public_keys: answer.validators.map(({ public_key }) => public_key),
    public_key_shards: shares.map((set) => set?.public_keys ?? []),
    exit_signature_shards: shares.map((set) => set?.encrypted_exit_signatures ?? []),
    deadline,
  }
}

/**
 * The first `count` equal approvals as the Keeper takes them.
 *
 * @throws when there are fewer; the message has every answer
 */
export async function gatherApprovals(
  oracles: readonly Pick<OracleProcess, 'url' | 'address'>[],
  path: '/validators' | '/signatures',
  request: object,
  count: number,
): Promise<Approval> {
  const answers = await Promise.all(
    oracles.map(async ({ url, address }) => {
      try {
        const { status, json, text } = await ask(url, path, { body: request })
        return { oracle: address, text, ...(status === 200 ? { approval: json as OracleAnswer } : {}) }
      } catch (error) {
        return { oracle: address, text: (error as Error).message }
      }
    }),
  )
  const good = answers.flatMap(({ oracle, approval }) => (approval === undefined ? [] : [{ oracle, ...approval }]))
  const groups = Map.groupBy(good, ({ ipfs_hash, deadline }) => `${ipfs_hash} ${deadline}`)
  const equal = [...groups.values()].find((group) => group.length >= count)
  if (equal === undefined) throw new Error(`not approved: ${answers.map(({ text }) => text).join('\n')}`)
  const { ipfs_hash: ipfsHash, deadline } = equal[0] ?? { ipfs_hash: '', deadline: 0 }
  return { ipfsHash, deadline, signatures: joinSignatures(equal, count) }
}

/** Sends the registration with the oracles' approval, over the root that is current now. */
export async function registerWithApproval(
  vault: Vault,
  type: '0x01' | '0x02',
  answer: RegisterAnswer,
  startIndex: number,
  oracles: readonly OracleProcess[],
  minOracles: number,
): Promise<Outcome> {
  const deadline = Math.floor(Date.now() / 1000) + 100
  const request = await approvalRequest(vault, type, answer, startIndex, deadline)
  const approval = await gatherApprovals(oracles, '/validators', request, minOracles)
  const signature: Hex = hexOf(answer.validators_manager_signature)
  return vault.registerApproved(request.validators_root, request.validators, signature, approval)
}
