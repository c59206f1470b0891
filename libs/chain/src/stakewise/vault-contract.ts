/**
 * The vault contract: the nonce that a validators-manager's signature counts (docs/protocol.md#10-manager-signature,
 * docs/protocol.md#14-chain-calls).
 */

import type { ExecutionClient } from '../execution/execution.ts'
import { readContract } from '../execution/read-contract.ts'

const validatorsManagerNonce = {
  type: 'function',
  name: 'validatorsManagerNonce',
  stateMutability: 'view',
  inputs: [],
  outputs: [{ name: 'nonce', type: 'uint256' }],
} as const

/**
 * The vault's `validatorsManagerNonce()` at a block. It grows with every signature the vault accepts, registrations included.
 *
 * @param vault 20 bytes
 * @throws {ChainError} EXECUTION_REVERTED or EXECUTION_EMPTY when it is no vault that counts; EXECUTION_INVALID; {HttpError}
 */
export function readManagerNonce(
  execution: Pick<ExecutionClient, 'call' | 'host'>,
  vault: Uint8Array,
  blockHash: string,
  signal?: AbortSignal,
): Promise<bigint> {
  return readContract(execution, validatorsManagerNonce, { address: vault, block: blockHash, signal })
}
