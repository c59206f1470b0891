// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// A wallet that is a contract (ERC-1271): what its owner has signed is its own. For tests only.
contract OwnedWallet {
    address private immutable owner;

    constructor(address account) {
        owner = account;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        if (signature.length != 65) return 0xffffffff;
        address signer = ecrecover(hash, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64]));
        return signer != address(0) && signer == owner ? this.isValidSignature.selector : bytes4(0xffffffff);
    }
}
