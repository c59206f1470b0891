/** The deposits that a cluster lock carries whole: what its nodes signed when the cluster was made, verified as the chain does. */

import { equalBytes } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '../bls/bls.ts'
import { type DepositFork, depositSigningRoot, withdrawalCredentials } from '../messages/messages.ts'
import type { ClusterLock, LockDeposit } from './cluster-lock.ts'

type ValidatorType = '0x01' | '0x02'

/** A deposit of a lock whose full signature verifies. */
export interface WholeDeposit {
  /** Of its validator in the lock, from 0. */
  position: number
  type: ValidatorType
  /** The address of its withdrawal credentials, 20 bytes. */
  vault: Uint8Array
  amountGwei: bigint
  /** 96 bytes, of the validator key. */
  signature: Uint8Array
}

/** Verified together: where all of a lock are wrong, halving them must not take for ever. */
const SLICE = 128

/** Type and address of withdrawal credentials that name one. */
function addressOf({
  withdrawalCredentials: credentials,
}: LockDeposit): Pick<WholeDeposit, 'type' | 'vault'> | undefined {
  const vault = credentials.subarray(12)
  for (const type of ['0x01', '0x02'] as const)
    if (equalBytes(credentials, withdrawalCredentials(type, vault))) return { type, vault }
  return undefined
}

/**
 * The deposits of a verified lock that are wanted, by type and amount, each with its full signature verified under the validator key and
 * the network's deposit domain. `wrong` are the paths of those whose signature does not verify, or that are of another key: nobody may use
 * them. Those without a signature, or with credentials that name no address, are of no use to anybody and left out.
 *
 * @param fork of the network, not of the lock
 * @see docs/protocol.md#3-messages
 */
export function readDeposits(
  engine: Pick<BlsEngine, 'verifyBatch'>,
  lock: Pick<ClusterLock, 'validators' | 'minor'>,
  fork: DepositFork,
  isWanted: (type: ValidatorType, amountGwei: bigint) => boolean,
): { deposits: WholeDeposit[]; wrong: string[] } {
  const pathOf = (position: number, place: number) =>
    `distributed_validators[${position}].${lock.minor < 8 ? 'deposit_data' : `partial_deposit_data[${place}]`}`
  const found = lock.validators.flatMap(({ publicKey, deposits }, position) =>
    deposits.flatMap((deposit, place) => {
      const address = addressOf(deposit)
      const { amountGwei, signature } = deposit
      if (address === undefined || signature.length === 0 || !isWanted(address.type, amountGwei)) return []
      const isOwn = equalBytes(deposit.publicKey, publicKey)
      return [{ path: pathOf(position, place), deposit, isOwn, whole: { position, ...address, amountGwei, signature } }]
    }),
  )
  const deposits: WholeDeposit[] = []
  const wrong: string[] = []
  for (let from = 0; from < found.length; from += SLICE) {
    const slice = found.slice(from, from + SLICE)
    const isRight = engine.verifyBatch(
      slice.map(({ deposit }) => ({
        publicKey: deposit.publicKey,
        message: depositSigningRoot(fork, deposit),
        signature: deposit.signature,
      })),
    )
    for (const [place, { path, isOwn, whole }] of slice.entries())
      if (isOwn && isRight[place] === true) deposits.push(whole)
      else wrong.push(path)
  }
  return { deposits, wrong }
}
