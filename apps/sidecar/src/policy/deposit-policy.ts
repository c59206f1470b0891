/**
 * Which deposits this node is willing to sign, as far as that can be said without asking anybody (docs/protocol.md#3-messages,
 * docs/protocol.md#10-manager-signature). A deposit signature never expires: one for a wrong vault is money lost.
 */

import { hasRealStake, type Network } from '@dvt-relayer/chain/networks.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { depositSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import type { KeyShare, ToSign } from '../keystores/keystore.ts'
import type { Refusal } from '../metrics.ts'
import type { WantedDeposit } from './wanted.ts'

/** In Gwei: 32 and 2048 ETH; Gnosis counts its mGNO the same way. */
const ACTIVATION_GWEI = 32_000_000_000
const MOST_GWEI = 2_048_000_000_000

/** Creates the policy. `allowedVaults`, lower-case hex with `0x`: empty, the withdrawal address of the lock alone decides. */
export function createDepositPolicy(
  network: Pick<Network, 'genesisForkVersion' | 'chainId'>,
  allowedVaults: readonly string[],
) {
  const allowed = new Set(allowedVaults)
  return {
    /**
     * What a node signs to let a validator deposit: DepositMessage{pubkey, credentials of type and vault, amount} under
     * the deposit domain of our own network.
     */
    deposit(validatorPublicKey: string, { vault, amountGwei, validatorType }: WantedDeposit): ToSign {
      const fields = {
        withdrawalCredentials: withdrawalCredentials(validatorType, fromHex(vault, 20)),
        amountGwei: BigInt(amountGwei),
      }
      const signingRoot = depositSigningRoot(network, { publicKey: fromHex(validatorPublicKey, 48), ...fields })
      return { signingRoot, message: { kind: 'deposit', ...fields } }
    },

    /**
     * Why a deposit is refused; undefined where it may be signed. The vault must be in the list where there is one, and the
     * withdrawal address of the lock where that names one; with neither, any vault will do on a test network and none elsewhere.
     */
    judge(
      { withdrawalAddress }: Pick<KeyShare, 'withdrawalAddress'>,
      { vault, amountGwei, validatorType }: WantedDeposit,
    ): Refusal | undefined {
      if (allowed.size > 0 && !allowed.has(vault)) return 'vault_not_allowed'
      if (withdrawalAddress !== undefined && withdrawalAddress !== vault) return 'vault_not_in_lock'
      if (allowed.size === 0 && withdrawalAddress === undefined && hasRealStake(network)) return 'vault_unnamed'
      const mostGwei = validatorType === '0x01' ? ACTIVATION_GWEI : MOST_GWEI
      return amountGwei < ACTIVATION_GWEI || amountGwei > mostGwei ? 'amount_not_allowed' : undefined
    },
  }
}
export type DepositPolicy = ReturnType<typeof createDepositPolicy>
