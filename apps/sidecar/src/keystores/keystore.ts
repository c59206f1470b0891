/** What the sidecar needs of key shares, wherever they are. */

/** One key share this process can sign with. */
export interface KeyShare {
  /** Lower-case hex with `0x`. */
  readonly validatorPublicKey: string
  /** From 1. */
  readonly shareIndex: number
  /** Every node's public key share of this validator, its own one included, as `POST /signatures` wants them. */
  readonly publicKeyShares: readonly { readonly share_index: number; readonly public_key_share: string }[]
  /** Where the cluster's lock says the validator's money goes: 20 bytes, lower-case hex with `0x`; undefined where it names none. */
  readonly withdrawalAddress: string | undefined
}

/** What is to be signed, as a remote signer wants to know it. */
export type SignMessage =
  | { readonly kind: 'exit'; readonly epoch: number; readonly validatorIndex: number }
  | { readonly kind: 'deposit'; readonly withdrawalCredentials: Uint8Array; readonly amountGwei: bigint }

/** A message and its signing root under the domain of our network: 32 bytes. */
export interface ToSign {
  readonly signingRoot: Uint8Array
  readonly message: SignMessage
}

/** One partial signature that is wanted. */
export interface SignRequest extends ToSign {
  readonly keyShare: Pick<KeyShare, 'validatorPublicKey' | 'shareIndex'>
}

/** A set of key shares. Secrets never leave it. */
export interface Keystore extends AsyncDisposable {
  /** Every key share it can sign with now; another array after each change. */
  readonly keyShares: readonly KeyShare[]
  /** The keys of the SSV operators that it acts for, where they are here: their id as far as the settings name it. */
  readonly operatorKeys?: readonly { readonly id: number | undefined; sign(text: string): Uint8Array }[]
  /** Whether nothing can be signed now because what holds the keys is away. */
  readonly isAway?: boolean
  /**
   * The partial signature of a signing root by one key share: 96 bytes.
   *
   * The caller has computed the root itself and checked the policy: what comes in here is signed.
   */
  sign(request: SignRequest, signal: AbortSignal): Promise<Uint8Array>
  /**
   * Looks for keys that came or went. A source that is broken now takes nothing away: it throws, and the keys stay.
   *
   * @returns whether `keyShares` changed
   */
  reload(signal: AbortSignal): Promise<boolean>
}

/** What tells one key share from another: its validator and its share index. */
export const idOfShare = ({
  shareIndex,
  validatorPublicKey,
}: Pick<KeyShare, 'shareIndex' | 'validatorPublicKey'>): string => `${shareIndex}:${validatorPublicKey}`

/** Whether two key shares of one id are the same in everything: a validator that was split anew has other ones. */
export function isSameShare(a: KeyShare, b: KeyShare): boolean {
  return (
    a === b ||
    (idOfShare(a) === idOfShare(b) &&
      a.withdrawalAddress === b.withdrawalAddress &&
      a.publicKeyShares.length === b.publicKeyShares.length &&
      a.publicKeyShares.every((share, position) => {
        const other = b.publicKeyShares[position]
        return share.share_index === other?.share_index && share.public_key_share === other.public_key_share
      }))
  )
}
