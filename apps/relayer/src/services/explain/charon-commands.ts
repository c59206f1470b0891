/**
 * What a node without a sidecar runs to hand in what its share lacks (docs/operating/stock-charon.md): charon's own commands, whole but for
 * the files of the node.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { relayerName } from '@dvt-relayer/crypto/oracle/request-signature.ts'
import type { ExplainedRow } from '@dvt-relayer/db/queries/explain.ts'
import type { RelayerConfig } from '../../config.ts'

/** The relayer as charon is told of it. */
export interface CharonApi {
  /** Its URL, or what stands for that. */
  relayer: string
  /** That every exit of the network is for. */
  epoch: number
}

/** Undefined where the relayer does not take what charon posts. */
export function charonApiOf({
  network,
  http,
}: Pick<RelayerConfig, 'network'> & { http: Pick<RelayerConfig['http'], 'hasObolApi' | 'publicUrl'> }):
  | CharonApi
  | undefined {
  if (!http.hasObolApi) return undefined
  const relayer = http.publicUrl === undefined ? '<this relayer>' : relayerName(http.publicUrl)
  return { relayer, epoch: network.capellaEpoch }
}

/** The commands that hand in these messages of a validator; a deposit's is for the vault, the amount and the type that are asked for. */
export function charonCommands(
  validator: Pick<
    ExplainedRow,
    'publicKey' | 'isRegistered' | 'exitIndex' | 'depositVault' | 'depositAmount' | 'depositType'
  >,
  missing: readonly ('exit' | 'deposit')[],
  { relayer, epoch }: CharonApi,
): string[] {
  const {
    publicKey,
    isRegistered,
    exitIndex,
    depositVault: vault,
    depositAmount: amount,
    depositType: type,
  } = validator
  const key = toHex(publicKey)
  const to = `--publish-address=${relayer}`
  return missing.flatMap((kind) => {
    if (kind === 'deposit')
      return vault === null || amount === null || type === null
        ? []
        : `charon deposit sign --validator-public-keys=${key} --deposit-amounts=${amount / 1e9} --withdrawal-addresses=${toHex(withdrawalCredentials(type, vault))} ${to}`
    // The stand-in lists no registered validator: that one wants a beacon node which has it.
    return isRegistered
      ? `charon exit sign --validator-public-key=${key} --validator-index=${exitIndex} --exit-epoch=${epoch} --beacon-node-endpoints=<a beacon node> ${to}`
      : `charon exit sign --all --exit-epoch=${epoch} --beacon-node-endpoints=${relayer}/obol ${to}`
  })
}
