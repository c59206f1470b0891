/** Errors of what reads the outside world. */

import { CodedError } from '@dvt-relayer/common/errors.ts'

export type ChainErrorCode =
  /** A node is on another chain than the setting says: boot is refused. */
  | 'CHAIN_MISMATCH'
  /** The network setting or its file is wrong. */
  | 'NETWORK_INVALID'
  /** A consensus node's answer contradicts itself or the protocol. */
  | 'CONSENSUS_INVALID'
  /** An execution node answered with a JSON-RPC error. */
  | 'EXECUTION_REFUSED'
  /** An execution node's answer contradicts itself or the protocol. */
  | 'EXECUTION_INVALID'
  /** A contract reverted the call. */
  | 'EXECUTION_REVERTED'
  /** A call gave no bytes: there is no contract at the address at that block, or it knows no such function. */
  | 'EXECUTION_EMPTY'
  /** What the vault contract would refuse, or what is not of the protocol's form: nothing is encoded or signed. */
  | 'VALIDATORS_INVALID'
  /** The validators-manager's wallet gave a signature that is not its own. */
  | 'MANAGER_SIGNATURE_WRONG'
  /** The registry dump is not one. */
  | 'REGISTRY_DUMP_INVALID'
  /** The CID of the chain's event is not one. */
  | 'IPFS_CID_INVALID'
  /** No gateway gave the content. */
  | 'IPFS_UNAVAILABLE'
  /** Gateways gave content that its CID does not prove. */
  | 'IPFS_UNVERIFIED'
  /** The oracle config is refused; the last good one stays. */
  | 'ORACLE_CONFIG_INVALID'
  /** An oracle's answer is not what was asked for. */
  | 'ORACLE_ANSWER_WRONG'
  /** Signatures that the Keeper would not take: too few, or one oracle twice. */
  | 'APPROVALS_INVALID'
  /** The wallet gave a transaction that is not its own. */
  | 'TRANSACTION_WRONG'

/** An error of `libs/chain`. Endpoints are named by host only. */
export class ChainError extends CodedError<ChainErrorCode> {}
