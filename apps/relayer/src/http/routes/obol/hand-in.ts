/**
 * What `charon exit sign` and `charon deposit sign` post, and `charon exit fetch` asks for (docs/protocol.md#requests-of-stock-charon). A
 * caller shows nothing before its body is read, so it is a stranger until then; who has signed its exits counts as that node.
 */

import type { BodyOf } from '@dvt-relayer/api/contract.ts'
import { type Routes, routes } from '@dvt-relayer/api/routes.ts'
import { onAccountOf } from '@dvt-relayer/common/account.ts'
import { mapInPieces } from '@dvt-relayer/common/flow/rounds.ts'
import { fromHex, parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { addressOfPublicKey } from '@dvt-relayer/crypto/address.ts'
import type { PartialExit } from '@dvt-relayer/crypto/cluster-lock/partial-exits.ts'
import { parseOraclePublicKey } from '@dvt-relayer/crypto/oracle/ecies.ts'
import type { FastifyRequest } from 'fastify'
import { ApiError } from '../../../errors.ts'
import { ANYBODY } from '../../auth/caller.ts'
import type { Bind } from '../../bind.ts'
import type { ApiContext } from '../../context.ts'

/** What a uint64 is below. */
const UINT64_END = 2n ** 64n

/** Items that are read in one go: half a millisecond. */
const READ_AT_ONCE = 256

/** A node by the key of its ENR. */
const addressOf = (key: Uint8Array): string => toHex(addressOfPublicKey(parseOraclePublicKey(toHex(key))))

/** Refuses before a body is read where these routes are not opened. */
export const ifOpened =
  ({ http }: ApiContext['config']) =>
  () => {
    if (http.hasObolApi) return ANYBODY
    throw new ApiError('OBOL_API_OFF', 'this relayer does not take what charon posts: its operator sets OBOL_API=on')
  }

/** Adds the routes. */
export function handInRoutes(bind: Bind, { config, services }: ApiContext): void {
  const { knownLocks, nodes, partialDeposits, partialExits } = services
  const opened = ifOpened(config)

  /** Who calls is not known, but what cannot be of an imported lock is not read. */
  async function ofLock({ params, headers }: FastifyRequest): Promise<void> {
    const lockHash = parseHex((params as { lock?: string }).lock ?? '', 32)
    // What is no hash is refused with the other parameters.
    if (lockHash !== undefined) await knownLocks.assertBody(lockHash, Number(headers['content-length'] ?? 0))
  }

  bind(
    routes.postPartialExits,
    async ({ params, body, reply, request }) => {
      const node = { lockHash: fromHex(params.lock, 32), shareIndex: body.share_idx }
      const exits = await readExits(body)
      const address = addressOf(await partialExits.assertSigned(node, exits, fromHex(body.signature, 65)))
      // A name with a colon is no token's.
      const seen = { token: `node:${address}`, shareIndexes: [node.shareIndex], software: 'charon', version: null }
      nodes.posted(seen, node.shareIndex)
      // Apart from that of a sidecar with the same key: who has read what charon sent can send it again.
      const account = { group: 'sidecar', name: `charon:${address}` }
      request.countAs(account)
      try {
        await onAccountOf(account, () => partialExits.take(node, exits))
      } catch (error) {
        if (error instanceof ApiError) nodes.refused(seen, node.shareIndex, error.code)
        throw error
      }
      reply.code(201)
      return {}
    },
    opened,
    ofLock,
  )

  bind(
    routes.postPartialDeposits,
    async ({ params, body, reply }) => {
      const node = { lockHash: fromHex(params.lock, 32), shareIndex: readShare(params.share) }
      const deposits = await mapInPieces(body.partial_deposit_data ?? [], READ_AT_ONCE, (deposit) => ({
        publicKey: fromHex(deposit.pubkey, 48),
        withdrawalCredentials: fromHex(deposit.withdrawal_credentials, 32),
        amountGwei: readUint64(deposit.amount),
        signature: fromHex(deposit.signature, 96),
      }))
      await partialDeposits.take(node, deposits)
      reply.code(201)
      return {}
    },
    opened,
    ofLock,
  )

  bind(
    routes.getFullExit,
    async () => {
      throw new ApiError(
        'EXIT_NOT_SERVED',
        'this relayer hands out no full exit: it splits each for the oracles, and a vault registers with their shares, so there is nothing to fetch',
      )
    },
    opened,
  )
}

function readExits({ partial_exits: exits }: BodyOf<Routes['postPartialExits']>): Promise<PartialExit[]> {
  return mapInPieces(
    exits ?? [],
    READ_AT_ONCE,
    ({ public_key: publicKey, signed_exit_message: { message, signature } }) => ({
      publicKey: fromHex(publicKey, 48),
      epoch: readUint64(message.epoch),
      validatorIndex: readUint64(message.validator_index),
      signature: fromHex(signature, 96),
    }),
  )
}

/** @throws {ApiError} BODY_INVALID */
function readUint64(digits: string): bigint {
  const value = BigInt(digits)
  if (value < UINT64_END) return value
  throw new ApiError('BODY_INVALID', `${digits} is beyond 64 bits`)
}

/** @throws {ApiError} PATH_INVALID */
function readShare(digits: string): number {
  const share = Number(digits)
  if (Number.isSafeInteger(share)) return share
  throw new ApiError('PATH_INVALID', `${digits} is no share index`)
}
