/**
 * Why a partial exit does not verify: charon signs with the keys of another node, or for another network, without a word. Tried are the
 * shares of the validator's other nodes and the other networks we know; it costs one batch for a request.
 */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { PartialExit } from '@dvt-relayer/crypto/cluster-lock/partial-exits.ts'
import { type ExitFork, exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { findKeyShares } from '@dvt-relayer/db/queries/clusters.ts'
import type { Context } from '../../context.ts'
import type { LockNode } from './refusals.ts'

/** Creates the service. */
export function createWrongExits({ config, db, crypto }: Pick<Context, 'config' | 'db' | 'crypto'>) {
  const { network } = config
  const general = ({ shareIndex }: LockNode, exit: PartialExit) =>
    `the signature of the exit of ${toHex(exit.publicKey)} does not fit the key share that the lock has for node ${shareIndex}: sign with that node's own --validator-keys-dir, against a beacon node of ${network.name}`

  /** What was done instead, where it can be told. */
  async function findReason({ shareIndex }: LockNode, exit: PartialExit): Promise<string | undefined> {
    const { publicKey, epoch, validatorIndex, signature } = exit
    const rootFor = (fork: ExitFork) => exitSigningRoot(fork, { epoch, validatorIndex })
    const shares = await findKeyShares(db, publicKey)
    const own = shares.find((share) => share.shareIndex === shareIndex)
    const others = shares.filter((share) => share !== own)
    const elsewhere = own === undefined ? [] : Object.values(networks).filter(({ name }) => name !== network.name)
    const guesses = [
      ...others.map((share) => ({
        publicKey: share.publicKeyShare,
        message: rootFor(network),
        says: `the exit of ${toHex(publicKey)} is signed with the key share of node ${share.shareIndex}, and the request comes from node ${shareIndex}: give the --validator-keys-dir of that node`,
      })),
      // The fork version charon takes from its lock, the genesis from its beacon node.
      ...elsewhere.flatMap((other) =>
        [other, { ...network, genesisValidatorsRoot: other.genesisValidatorsRoot }].map((fork) => ({
          publicKey: own?.publicKeyShare ?? new Uint8Array(),
          message: rootFor(fork),
          says: `the exit of ${toHex(publicKey)} is signed for ${other.name}, and this relayer works for ${network.name}: give --beacon-node-endpoints of ${network.name}`,
        })),
      ),
    ]
    const isRight = await crypto.verify(guesses.map((guess) => ({ ...guess, signature })))
    return guesses.find((_, position) => isRight[position] === true)?.says
  }

  return {
    /** A sentence for each of these exits of a node: what is wrong with the first, and of the others that they are wrong. */
    async explain(node: LockNode, exits: readonly PartialExit[]): Promise<string[]> {
      const [first] = exits
      const reason = first === undefined ? undefined : await findReason(node, first)
      return exits.map((exit) => (exit === first ? reason : undefined) ?? general(node, exit))
    },
  }
}
