/** What is used of viem's wallets, likewise: not the word lists of ten languages. */

export { sign } from 'viem/accounts'
