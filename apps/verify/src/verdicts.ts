/** Every verdict of every command, and what it means. The README's tables are compared with this one. */

export const VERDICTS = {
  'verify-share': {
    ok: "the share is true: it is your part of that validator's exit",
    stale_set: 'the shares are of another oracle set than the config given: CID, threshold, oracles or receipt tell',
    wrong_key: "the key is not that of any oracle of the config, or not of the oracle at the item's place",
    wrong_message: 'the exit is not the one expected: another validator, index, epoch or network',
    wrong_place: 'a true share, but of another place than the one your key has in the config',
    tampered: 'your key does not open the ciphertext: it was altered, or encrypted to somebody else',
    not_a_share: 'the ciphertext opens, but what is in it does not verify under its public key share',
    set_invalid: 'the public key shares are wrong: `verify-set` says how',
    wrong_receipt: 'your share is true, but the receipt is not that of this set',
  },
  'verify-set': {
    ok: 'the public key shares share the validator key among these oracles, with exactly this threshold',
    stale_set: 'the set is of another oracle set than the config given: CID, threshold or oracles tell',
    wrong_message: 'the set is not of the exit expected: another validator, index or epoch',
    wrong_count: 'not one public key share and one ciphertext for each oracle',
    invalid_point: 'a public key is not a point of the group',
    wrong_order: 'the right oracles or public key shares, in another order than that of the config',
    wrong_validator_key: 'the public key shares fit together, but share another key than that of the validator',
    degree_too_high: 'more oracles than the threshold would be needed',
    degree_too_low: 'fewer oracles than the threshold suffice to make the validator leave',
    wrong_shares: 'some public key shares do not lie on the polynomial of the others',
    wrong_receipt: 'the public key shares are right, but the receipt is not that of this set',
  },
  'verify-exit': {
    ok: 'the shares, or the copy, give the exit of that validator',
    stale_set: 'the set is of another oracle set than the config given: CID, threshold or oracles tell',
    wrong_message: 'a signature of that validator, but of another exit: another index, epoch or network',
    not_enough: 'fewer shares than the threshold',
    wrong_shares: 'too many of the shares are wrong; those that surely are, are named',
    set_invalid: 'the shares do not give the exit, and the public key shares are wrong as well',
    wrong_key: "the owner's copy is encrypted to another key",
    tampered: "the key does not open the owner's copy: it was altered, or encrypted to somebody else",
    not_an_exit: "the owner's copy opens, but what is in it is not a signed exit of that validator",
  },
} as const satisfies Record<string, Record<string, string>>

export type Command = keyof typeof VERDICTS
export type Verdict<C extends Command> = Extract<keyof (typeof VERDICTS)[C], string>

export type Fact = string | number | boolean | null | readonly Fact[] | { readonly [name: string]: Fact }
export type Facts = Readonly<Record<string, Fact>>

/** What was found. Facts are public: no key, no signature, no share. */
export interface Finding {
  verdict: string
  message: string
  facts: Facts
}

/** What a command found. */
export interface Report<C extends Command> extends Finding {
  verdict: Verdict<C>
}
