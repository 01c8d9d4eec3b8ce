using LazyMount.Fuse.Protocol;
using Xunit;

namespace LazyMount.Tests.Fuse;

public sealed class NegotiationTests
{
    private readonly byte[] _reply = new byte[256];

    [Fact]
    public void TodaysKernel_GetsAllThatWeWant()
    {
        var (result, length, negotiated) = Answer(7, 45, uint.MaxValue, flags2: uint.MaxValue);
        Assert.Equal((NegotiationResult.Settled, 80), (result, length));
        Assert.Equal((7u, 45u), (U32(16), U32(20)));
        Assert.Equal(1u << 20, U32(24));
        Assert.Equal((ulong)negotiated.Flags, U32(28) | ((ulong)U32(48) << 32));
        Assert.True(negotiated.Has(InitFlags.HasResend | InitFlags.NoOpenSupport | InitFlags.NoOpenDirSupport | InitFlags.DoReadDirPlus));
        Assert.Equal((512, 384), (BitConverter.ToUInt16(_reply, 32), BitConverter.ToUInt16(_reply, 34)));
        Assert.Equal(256, BitConverter.ToUInt16(_reply, 44));
        Assert.Equal(0u, U32(28) & (1u << 16)); // no writeback cache: never what we did not ask for
    }

    [Fact]
    public void OlderKernel_GetsItsOwnMinorAndOnlyWhatItOffers()
    {
        var (result, _, negotiated) = Answer(7, 31, (uint)(InitFlags.AsyncRead | InitFlags.DoReadDirPlus), flags2: uint.MaxValue);
        Assert.Equal(NegotiationResult.Settled, result);
        Assert.Equal((31u, InitFlags.AsyncRead | InitFlags.DoReadDirPlus), (negotiated.Minor, negotiated.Flags));
        Assert.Equal((31u, 0u), (U32(20), U32(48)));
        Assert.Equal(0, BitConverter.ToUInt16(_reply, 44)); // no MAX_PAGES
    }

    [Fact]
    public void Flags2_CountOnlyWithInitExt()
    {
        Assert.False(Answer(7, 45, (uint)InitFlags.AsyncRead, flags2: uint.MaxValue).Negotiated.Has(InitFlags.HasResend));
        Assert.True(Answer(7, 45, (uint)InitFlags.InitExt, flags2: 1 << 7).Negotiated.Has(InitFlags.HasResend));
    }

    [Fact]
    public void LaterKernel_GetsOurMinor() => Assert.Equal(45u, Answer(7, 99, 0, 0).Negotiated.Minor);

    [Fact]
    public void LaterMajor_IsToldOursAndAsksAgain()
    {
        Assert.Equal(NegotiationResult.AskAgain, Answer(8, 0, 0, 0).Result);
        Assert.Equal((0, 7u), (BitConverter.ToInt32(_reply, 4), U32(16)));
    }

    [Theory]
    [InlineData(7u, 22u)]
    [InlineData(6u, 99u)]
    public void OldKernels_AreRefused(uint major, uint minor)
    {
        var (result, length, _) = Answer(major, minor, 0, 0);
        Assert.Equal((NegotiationResult.TooOld, 16, -95), (result, length, BitConverter.ToInt32(_reply, 4)));
    }

    [Fact]
    public void ShortInitOfOldKernels_IsTaken()
    {
        Assert.Equal(RequestError.None, FuseRequest.Parse(new RequestBytes(FuseOpcode.Init).U32(7, 31, 0, 1).ToArray(), out FuseRequest request));
        Assert.Equal(NegotiationResult.Settled, Negotiation.Answer(request, _reply, out _, out Negotiated negotiated));
        Assert.Equal(InitFlags.AsyncRead, negotiated.Flags);
    }

    [Fact]
    public void WhatOneMountWantsBesides_IsNegotiatedForItAlone()
    {
        byte[] message = new RequestBytes(FuseOpcode.Init).U32(7, 45, 0, (uint)(InitFlags.AsyncRead | InitFlags.AsyncDio)).U32(new uint[12]).ToArray();
        Assert.Equal(RequestError.None, FuseRequest.Parse(message, out FuseRequest request));
        Negotiation.Answer(request, _reply, out _, out Negotiated usual);
        Negotiation.Answer(request, _reply, out _, out Negotiated more, InitFlags.AsyncDio);
        Assert.Equal((InitFlags.AsyncRead, InitFlags.AsyncRead | InitFlags.AsyncDio), (usual.Flags, more.Flags));
    }

    [Fact]
    public void Buffers_HoldWhatTheKernelDemands()
    {
        // FUSE_MIN_READ_BUFFER, and headers with max_write.
        Answer(7, 45, 0, 0);
        Assert.True(Negotiation.RequestBufferSize >= 8192);
        Assert.True(Negotiation.RequestBufferSize >= 40 + 40 + U32(36));
        Assert.True(Negotiation.ReplyBufferSize >= 16 + 65536); // XATTR_SIZE_MAX
    }

    private (NegotiationResult Result, int Length, Negotiated Negotiated) Answer(uint major, uint minor, uint flags, uint flags2)
    {
        byte[] message = new RequestBytes(FuseOpcode.Init).U32(major, minor, 131072, flags, flags2).U32(new uint[11]).ToArray();
        Assert.Equal(RequestError.None, FuseRequest.Parse(message, out FuseRequest request));
        NegotiationResult result = Negotiation.Answer(request, _reply, out int length, out Negotiated negotiated);
        return (result, length, negotiated);
    }

    private uint U32(int at) => BitConverter.ToUInt32(_reply, at);
}
