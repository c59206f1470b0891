// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// The part of the Keeper that the relayer reads, open to everybody: for tests only.
contract Keeper {
    event ConfigUpdated(string configIpfsHash);

    function updateConfig(string calldata configIpfsHash) external {
        emit ConfigUpdated(configIpfsHash);
    }
}
