"""Autoencoders: through a narrow place and back, so that the network has to find out what matters."""

from __future__ import annotations

from minidl.kernels.arguments import check_integer
from minidl.layers import Flatten, Layer, LeakyReLU, Reshape, Sequential, Sigmoid
from minidl.models.gan import dense_stack


class Autoencoder(Layer):
    """An encoder, which makes a short code of a picture, and a decoder, which makes a picture of a code.

    Nobody has to say what the pictures show: the target is the input,
    `tasks.fit(autoencoder, Examples(images, images), epochs, loss=mse)`.

    Parameters
    ----------
    encoder : Layer
        (N, 1, side, side) → (N, code).
    decoder : Layer
        (N, code) → (N, 1, side, side).
    """

    def __init__(self, encoder, decoder):
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x):
        """Encode and decode."""
        return self.decoder(self.encoder(x))


def dense_autoencoder(side=8, code=8, hidden=(256, 128), end=Sigmoid):
    """Return an autoencoder of dense layers.

    Parameters
    ----------
    side : int
        Of the pictures, in pixels.
    code : int
        How many numbers a picture has to pass through.
    hidden : sequence of int
        The encoder's sizes between picture and code; the decoder has them in reverse.
    end : callable
        Makes the last layer, which keeps pixels in their range: `Sigmoid` from 0 to 1, `Tanh` from -1 to 1.
    """
    side, code = check_integer("side", side, 1), check_integer("code", code, 1)
    sizes = [side * side, *hidden, code]

    def stack(sizes):
        return dense_stack(sizes, lambda: LeakyReLU(0.1))

    return Autoencoder(
        Sequential(Flatten(), *stack(sizes)),
        Sequential(*stack(sizes[::-1]), end(), Reshape(1, side, side)),
    )
