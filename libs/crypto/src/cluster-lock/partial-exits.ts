/**
 * What a node signs with the key of its ENR when `charon exit sign` posts its partial exits: the root of
 *
 *     { partial_exits: List[{ public_key: Bytes48, signed_exit: { { epoch, validator_index }, signature: Bytes96 } }, 65536],
 *       share_index: uint64 }
 *
 * The list is in the order of the request. In two steps, so that the first can be cut into slices.
 *
 * @see docs/protocol.md#requests-of-stock-charon
 */

import { bytesRoot, containerRoot, listRoot, uint64Root } from '../messages/ssz.ts'

/** Exits that one request can hold. */
export const MAX_PARTIAL_EXITS = 65_536

/** One partial exit; the numbers are uint64. */
export interface PartialExit {
  /** 48 bytes, of the validator. */
  publicKey: Uint8Array
  epoch: bigint
  validatorIndex: bigint
  /** 96 bytes, by the node's key share. */
  signature: Uint8Array
}

/** The root of one partial exit. @throws {RangeError} for a field of another length or beyond uint64 */
export function partialExitRoot({ publicKey, epoch, validatorIndex, signature }: PartialExit): Uint8Array {
  const message = containerRoot([uint64Root(epoch), uint64Root(validatorIndex)])
  return containerRoot([bytesRoot(publicKey, 48), containerRoot([message, bytesRoot(signature, 96)])])
}

/** The root of a whole request, from those of its exits in order: what is signed. @throws {RangeError} for more than 65,536 */
export function partialExitsRoot(exitRoots: readonly Uint8Array[], shareIndex: number): Uint8Array {
  return containerRoot([listRoot(exitRoots, MAX_PARTIAL_EXITS), uint64Root(shareIndex)])
}
