/**
 * Partial exits as `charon exit sign` posts them: proven by the ENR key of the node, held against the exit that is asked for now, and
 * handed in as a sidecar's are.
 */

import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import type { PartialExit } from '@dvt-relayer/crypto/cluster-lock/partial-exits.ts'
import { findExitsOfLock, type OpenExitRow } from '@dvt-relayer/db/queries/clusters.ts'
import type { Context } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import type { NodeKeys } from '../identity/node-keys.ts'
import type { Submission } from '../signatures/submit.ts'
import type { KnownLocks } from './known-locks.ts'
import { handIn, type LockNode, type Refusal, refuseRest } from './refusals.ts'
import { createWrongExits } from './wrong-exits.ts'

/** Creates the service. */
export function createPartialExits({
  config,
  db,
  crypto,
  knownLocks,
  nodeKeys,
  signatures,
}: Pick<Context, 'config' | 'db' | 'crypto'> & {
  knownLocks: KnownLocks
  nodeKeys: NodeKeys
  signatures: Submission
}) {
  const wrongExits = createWrongExits({ config, db, crypto })

  /** What is wrong with an exit by what is asked for, whatever its signature. */
  function faultOf(
    { publicKey, epoch, validatorIndex }: PartialExit,
    open: OpenExitRow | undefined,
    { lockHash }: LockNode,
  ): Refusal | undefined {
    const key = toHex(publicKey)
    if (open === undefined)
      return {
        code: 'KEY_NOT_IN_LOCK',
        message: `the relayer knows no validator ${key} of the lock ${toHex(lockHash)}: give the --lock-file that it has imported`,
      }
    if (open.validatorIndex === null || open.epoch === null)
      return {
        code: 'EXIT_NOT_OPEN',
        message: open.isRegistered
          ? `the validator ${key} is registered already, and no exit of it is asked for: there is nothing to do`
          : `no exit of the validator ${key} is asked for now: run charon exit sign --all with --beacon-node-endpoints=<this relayer>/obol, which lists what is`,
      }
    if (epoch !== BigInt(open.epoch))
      return {
        code: 'EXIT_EPOCH_WRONG',
        message: `the exit of ${key} is made for epoch ${epoch}, and every exit on ${config.network.name} is for epoch ${open.epoch}: run charon exit sign --all --exit-epoch=${open.epoch}, with the other flags as before`,
      }
    if (validatorIndex !== BigInt(open.validatorIndex))
      return {
        code: 'EXIT_INDEX_STALE',
        message: `the exit of ${key} is made for validator index ${validatorIndex}, and it is asked for at index ${open.validatorIndex} now: run charon exit sign --validator-public-key=${key} --validator-index=${open.validatorIndex} --exit-epoch=${open.epoch}, with the other flags as before`,
      }
    return undefined
  }

  /** Faults of some of the exits, by position, as the database stands now. */
  async function findFaults(
    node: LockNode,
    exits: readonly PartialExit[],
    positions: readonly number[],
  ): Promise<Map<number, Refusal>> {
    const some = positions.flatMap((position) => {
      const exit = exits[position]
      return exit === undefined ? [] : [{ position, exit }]
    })
    const keys = some.map(({ exit }) => exit.publicKey)
    const found = some.length === 0 ? [] : await findExitsOfLock(db, node.lockHash, keys)
    const open = new Map(found.map((row) => [row.position, row]))
    return new Map(
      some.flatMap(({ position, exit }, i) => {
        const fault = faultOf(exit, open.get(i), node)
        return fault === undefined ? [] : [[position, fault] as const]
      }),
    )
  }

  return {
    /**
     * That this node has signed these exits; returns its key (33 bytes). Nothing is written, and no more than one request may bring is looked
     * at: anybody may ask.
     *
     * @throws {ApiError} LOCK_UNKNOWN, TOO_MANY_SHARES, NODE_SIGNATURE_WRONG
     */
    async assertSigned(node: LockNode, exits: readonly PartialExit[], signature: Uint8Array): Promise<Uint8Array> {
      const key = await assertNode(nodeKeys, node)
      assertNotTooMany(config.limits.shares, exits.length)
      await knownLocks.assertExits(node.lockHash, exits.length)
      const signer = await crypto.exitsSigner(exits, node.shareIndex, signature)
      if (signer !== undefined && equalBytes(signer, key)) return key
      throw new ApiError(
        'NODE_SIGNATURE_WRONG',
        `these exits are not signed with the ENR key that the lock ${toHex(node.lockHash)} has for node ${node.shareIndex}: give the --private-key-file and the --lock-file of one and the same node`,
      )
    },

    /**
     * Takes the exits of a node that has signed them: those that are what is asked for count, whatever else came with them.
     *
     * @throws {ApiError} EXITS_REFUSED with what was not taken, and why
     */
    async take(node: LockNode, exits: readonly PartialExit[]): Promise<void> {
      const refused = await findFaults(node, exits, [...exits.keys()])
      const posted = exits.flatMap(({ publicKey, signature }, position) =>
        refused.has(position) ? [] : [{ position, publicKey: toHex(publicKey), signature: toHex(signature) }],
      )
      const wrong = await handIn(signatures, node.shareIndex, 'exit', posted)
      // The index may have moved on between the two looks: then the exit is late, and its signature not wrong.
      const late = await findFaults(node, exits, wrong)
      for (const [position, refusal] of late) refused.set(position, refusal)
      const bad = wrong.flatMap((position) => {
        const exit = exits[position]
        return late.has(position) || exit === undefined ? [] : [{ position, exit }]
      })
      const told = await wrongExits.explain(
        node,
        bad.map(({ exit }) => exit),
      )
      bad.forEach(({ position }, i) => {
        refused.set(position, { code: 'SIGNATURE_WRONG', message: told[i] ?? '' })
      })
      refuseRest('EXITS_REFUSED', exits.length, refused)
    },
  }
}
export type PartialExits = ReturnType<typeof createPartialExits>

/** The key of a node of an imported lock. @throws {ApiError} LOCK_UNKNOWN */
export async function assertNode(nodeKeys: NodeKeys, { lockHash, shareIndex }: LockNode): Promise<Uint8Array> {
  const key = await nodeKeys.find(lockHash, shareIndex)
  if (key !== undefined) return key
  throw new ApiError(
    'LOCK_UNKNOWN',
    `this relayer has imported no cluster lock ${toHex(lockHash)} with a node ${shareIndex}: its operator adds the lock to CLUSTER_LOCK_FILES`,
  )
}

/** @throws {ApiError} TOO_MANY_SHARES */
export function assertNotTooMany(most: number, items: number): void {
  if (items > most)
    throw new ApiError(
      'TOO_MANY_SHARES',
      `at most ${most} partial signatures in one request, this one has ${items}: the relayer's operator raises MAX_SHARES_PER_REQUEST`,
    )
}
