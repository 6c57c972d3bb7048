"""The Energy-Aware Encoder and the location initializer."""

from __future__ import annotations

import torch

from apsam_train.models.energy_encoder import EnergyAwareEncoder, LocationInitializer, energies
from apsam_train.models.sam_parts import LayerNorm2d


def test_energies_are_the_largest_and_smallest_channel_in_unit_range() -> None:
    image = torch.tensor([[[[255, 51, 0], [10, 20, 30]]]], dtype=torch.uint8)
    expected = torch.tensor([[[[1.0, 30 / 255]], [[0.0, 10 / 255]]]])
    torch.testing.assert_close(energies(image), expected)


def test_blocks_normalise_like_sams_layer_norm() -> None:
    torch.manual_seed(0)
    encoder = EnergyAwareEncoder((4, 8, 8))
    x = torch.rand(2, 2, 16, 16)
    reference = x
    for conv, norm, activation, pool in encoder.blocks:
        plain = LayerNorm2d(conv.out_channels)
        plain.load_state_dict(dict(norm.norm.state_dict()))
        reference = pool(activation(plain(conv(reference))))
    torch.testing.assert_close(encoder(x), reference)


def test_attention_sums_to_one_and_is_a_map_of_the_features() -> None:
    features = torch.randn(2, 8, 4, 6)
    _, attention = LocationInitializer(width=8, top_k=3, embed_dim=16)(features)
    assert attention.shape == (2, 4, 6)
    torch.testing.assert_close(attention.sum(dim=(1, 2)), torch.ones(2))


def test_the_query_is_zero_at_the_start_and_its_gradient_reaches_the_head() -> None:
    initializer = LocationInitializer(width=8, top_k=3, embed_dim=16)
    query, _ = initializer(torch.randn(2, 8, 4, 4))
    assert not query.any()
    torch.nn.init.normal_(initializer.project.weight)
    initializer(torch.randn(2, 8, 4, 4))[0].square().sum().backward()
    assert initializer.head.weight.grad is not None
    assert initializer.head.weight.grad.abs().sum() > 0


def test_the_strongest_pixel_comes_first() -> None:
    initializer = LocationInitializer(width=2, top_k=1, embed_dim=2)
    with torch.no_grad():
        initializer.head.weight.copy_(torch.tensor([[1.0, 0.0]]))
        initializer.project.weight.copy_(torch.eye(2))
    features = torch.zeros(1, 2, 2, 2)
    features[0, :, 1, 0] = torch.tensor([50.0, 7.0])
    query, attention = initializer(features)
    assert attention[0].argmax() == 2
    torch.testing.assert_close(query[0], torch.tensor([50.0, 7.0]))


def test_the_query_does_not_fade_with_the_number_of_pixels() -> None:
    initializer = LocationInitializer(width=3, top_k=2, embed_dim=6)
    with torch.no_grad():
        initializer.head.weight.zero_()
        initializer.project.weight.copy_(torch.eye(6))
    for side in (2, 64):
        query, _ = initializer(torch.full((1, 3, side, side), 4.0))
        torch.testing.assert_close(query, torch.full((1, 6), 2.0))
